# A provisioner of Vagrant's that asks maestro for a slave. Steps:
#
#     join    brings the slave the token and the fingerprint by which it joins
#     ready   waits until the master says that the slave is ready
#
# and, when a slave's machine is destroyed, `Hpczmq.forget` revokes its key. All of it goes over Vagrant's
# own ssh, from maestro through this process to the slave: no file of this host, no folder that
# machines share, and no other machine sees the token.

module Hpczmq
  class Plugin < Vagrant.plugin("2")
    name "hpczmq"
    config(:hpczmq, :provisioner) { Config }
    provisioner(:hpczmq) { Provisioner }
  end

  class Failed < Vagrant::Errors::VagrantError
    def error_message
      extra_data[:text]
    end
  end

  # Have the master refuse the keys of a slave whose machine is gone, if there is a master.
  def self.forget(machine)
    said = Maestro.new(machine).says("ESCLAVO=#{machine.name} #{MACHINE} forget")
    said.to_s.each_line { |line| machine.ui.detail(line.chomp) }
  end

  MACHINE = "bash /opt/hpczmq/deploy/registry/machine.sh".freeze

  # The master's machine, as seen from a slave's.
  class Maestro
    def initialize(slave)
      @slave = slave
    end

    # What a command prints there; nothing while it fails, or maestro is not up.
    def says(command)
      # Not the one that `vagrant up` may be working on at the same time: its ssh is not to share.
      @machine ||= @slave.env.machine(:maestro, @slave.provider_name, true)
      @machine.reload
      return unless @machine.state.id == :running && @machine.communicate.ready?

      said = +""
      code = @machine.communicate.sudo(command, error_check: false) { |kind, text| said << text if kind == :stdout }
      said if code.zero?
    rescue Vagrant::Errors::VagrantError
      nil
    end
  end

  class Config < Vagrant.plugin("2", :config)
    attr_accessor :step, :wait_s
  end

  class Provisioner < Vagrant.plugin("2", :provisioner)
    FOLDER = "/opt/hpczmq/secrets".freeze
    # As `hpczmq keys` makes them: a token, a fingerprint.
    LINES = /\A([a-z2-7]{32})\n([0-9a-f]{64})\n\z/.freeze
    PAUSE_S = 2

    def provision
      @maestro = Maestro.new(machine)
      config.step == "join" ? join : ready
    end

    private

    def join
      token, fingerprint = waited("maestro has made the token by which slaves join (vagrant up maestro)") do
        LINES.match(@maestro.says("cat #{FOLDER}/slave.token #{FOLDER}/fingerprint").to_s)&.captures
      end
      Vagrant::Util::CredentialScrubber.sensitive(token)
      # Vagrant hands commands to a shell's standard input: they are in no list of processes. Nobody
      # but root gets through the folder; the container reads the files under a user of its own.
      machine.communicate.sudo(<<~SHELL)
        set -e
        umask 077
        mkdir -p #{FOLDER}
        chmod 700 #{FOLDER}
        printf '%s\\n' '#{token}' >#{FOLDER}/slave.token
        printf '%s\\n' '#{fingerprint}' >#{FOLDER}/fingerprint
        chmod 444 #{FOLDER}/slave.token #{FOLDER}/fingerprint
      SHELL
      machine.ui.detail("has what it joins by")
    end

    def ready
      waited("the master says that #{machine.name} is ready (vagrant ssh maestro -c 'sudo docker ps')") do
        @maestro.says("ESCLAVO=#{machine.name} #{MACHINE} ready")
      end
      machine.ui.detail("is ready")
    end

    # What the block gives, once it gives something.
    def waited(what)
      limit_s = config.wait_s
      deadline = now_s + limit_s
      told = false
      until (found = yield)
        raise Failed, text: "#{machine.name}: not in #{limit_s} s: #{what}" if now_s > deadline

        machine.ui.detail("waits up to #{limit_s} s until #{what}") unless told
        told = true
        sleep PAUSE_S
      end
      found
    end

    def now_s
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
