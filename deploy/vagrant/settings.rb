# What the environment says of the machines, checked: all that is wrong is told at once.

require "etc"

module Hpczmq
  class Settings
    class Bad < StandardError; end

    # A variable: what it is when it is not set, what it must match or be in, and those in words.
    Rule = Struct.new(:default, :allowed, :must)

    ADDRESS_PART = /(25[0-5]|2[0-4]\d|1?\d?\d)/.freeze

    RULES = {
      "HPC_SLAVES" => Rule.new("1", 1..244, "a whole number, 1..244"),
      "HPC_NET" => Rule.new("192.168.56", /\A#{ADDRESS_PART}(\.#{ADDRESS_PART}){2}\z/,
                            "three numbers, like 192.168.56"),
      "HPC_VM_MASTER_CPUS" => Rule.new("2", 1..256, "a whole number, 1..256"),
      # The containers of master and memorias may take 2048 MB; less is enough for small images.
      "HPC_VM_MASTER_MEMORY" => Rule.new("2048", 1024..1_048_576, "megabytes, 1024..1048576"),
      "HPC_VM_SLAVE_CPUS" => Rule.new("1", 1..256, "a whole number, 1..256"),
      "HPC_VM_SLAVE_MEMORY" => Rule.new("1024", 512..1_048_576, "megabytes, 512..1048576"),
      "HPC_REGISTRY" => Rule.new("192.168.56.1:5000", /\A[A-Za-z0-9.-]+:\d+\z/, "HOST:PORT"),
      "HPC_VERSION" => Rule.new(nil, /\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\z/,
                                "a tag: letters, digits, dots and dashes"),
      # VirtualBox and libvirt: any Debian 12 or newer; Docker: what the machines are built from.
      "HPC_BOX" => Rule.new("debian/bookworm64", %r{\A[\w.-]+(/[\w.-]+)?\z}, "a box, like debian/bookworm64"),
      "HPC_VM_BASE" => Rule.new("debian:bookworm-slim", %r{\A[a-z0-9][\w./:@-]*\z}, "an image with Debian"),
      # How long a machine waits for the registry, for maestro, for its own node.
      "HPC_WAIT_S" => Rule.new("600", 1..86_400, "seconds, 1..86400"),
    }.freeze

    # Read them from `env`; `version_file` is where the source says its version.
    def self.read(env, version_file:)
      values = RULES.keys.to_h do |name|
        given = env[name].to_s
        [name, given.empty? ? default(name, env, version_file) : given]
      end
      faults = values.filter_map do |name, text|
        "Vagrantfile: #{name} = #{text}: must be #{RULES[name].must}" unless allowed?(RULES[name].allowed, text)
      end
      raise Bad, faults.join("\n") unless faults.empty?

      new(values)
    end

    def self.default(name, env, version_file)
      return File.read(version_file)[/^__version__.* = "(.*)"$/, 1] if name == "HPC_VERSION"
      # The registry is on this host, whose address in the machines' network is .1.
      return "#{env['HPC_NET']}.1:5000" if name == "HPC_REGISTRY" && !env["HPC_NET"].to_s.empty?

      RULES[name].default
    end

    def self.allowed?(allowed, text)
      return allowed.match?(text) if allowed.is_a?(Regexp)

      text.match?(/\A[1-9]\d{0,8}\z/) && allowed.cover?(text.to_i)
    end

    # What makes a container a machine: systemd and a Docker of its own in it. SYS_RESOURCE is not
    # everybody's to give, and --privileged would ask for it. Docker's files are in a volume, since
    # its layers can't lie on layers; it goes with the container.
    def self.container(number, cpus, memory, host_cpus = Etc.nprocessors)
      limits = ["--memory", "#{memory}m"]
      # Processors of its own rather than a share of all: a machine sees how many it has. One after
      # the other has the next ones.
      mine = Array.new(cpus) { |index| (number * cpus + index) % host_cpus }.uniq.sort
      limits += ["--cpuset-cpus", mine.join(",")]
      limits + %w[
        --cap-add ALL --cap-drop SYS_RESOURCE --cgroupns private
        --security-opt seccomp=unconfined --security-opt apparmor=unconfined
        --tmpfs /run --tmpfs /run/lock --tmpfs /tmp:exec --volume /var/lib/docker
      ]
    end

    private_class_method :default, :allowed?

    def initialize(values)
      @values = values
    end

    # A number where a number is meant.
    def [](name)
      RULES[name].allowed.is_a?(Range) ? @values.fetch(name).to_i : @values.fetch(name)
    end

    # The environment of registry/machine.sh on a machine. Its containers may have the processors of
    # the machine, and a slave's its memory but for what the system needs; a machine that is a
    # container can't tell by itself.
    def for_node(name, role)
      shared = {
        "HPC_REGISTRY" => self["HPC_REGISTRY"], "HPC_VERSION" => self["HPC_VERSION"],
        "MAESTRO_IP" => "#{self['HPC_NET']}.10", "HPC_WAIT_S" => self["HPC_WAIT_S"].to_s,
      }
      if role == "master"
        # The memorias may have 384 MB each.
        memory = "#{self['HPC_VM_MASTER_MEMORY'] - 768}m"
        return shared.merge("HPC_MASTER_CPUS" => self["HPC_VM_MASTER_CPUS"].to_s, "HPC_MASTER_MEMORY" => memory)
      end

      shared.merge(
        "ESCLAVO" => name, "HPC_SLAVE_CPUS" => self["HPC_VM_SLAVE_CPUS"].to_s,
        "HPC_SLAVE_MEMORY" => "#{self['HPC_VM_SLAVE_MEMORY'] - 128}m"
      )
    end
  end
end
