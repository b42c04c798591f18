# Stands in for Vagrant: what a Vagrantfile says is written down, and a provisioner is run on a
# machine that only writes down, too. `ruby -r THIS -e …`

require "json"

module Vagrant
  # What plugins derive from; the class methods with which they say what they are do nothing.
  def self.plugin(_version, _kind = nil)
    Class.new do
      def self.name(*) = super()
      def self.config(*) = nil
      def self.provisioner(*) = nil
      attr_reader :machine, :config

      def initialize(machine = nil, config = nil)
        @machine = machine
        @config = config
      end
    end
  end

  def self.source_root
    require "pathname"
    require "tmpdir"
    Pathname.new(Dir.mktmpdir.tap { |folder| at_exit { FileUtils.rm_rf(folder) } }).tap do |folder|
      folder.join("keys").mkpath
      folder.join("keys", "vagrant.pub").write("ssh-rsa KEY vagrant\n")
    end
  end

  def self.configure(_version)
    yield Recorder.new(said = {})
    puts JSON.generate(said)
  end

  module Errors
    class VagrantError < StandardError
      attr_reader :extra_data

      def initialize(data = {})
        @extra_data = data
        super()
      end

      def message = respond_to?(:error_message) ? error_message : super
    end
  end

  module Util
    module CredentialScrubber
      def self.sensitive(text) = (@texts ||= []) << text
      def self.texts = @texts.to_a
    end
  end
end

# Writes down: x.name = value; x.network(…), provision(…); blocks of define, provider, trigger.
class Recorder
  def initialize(said)
    @said = said
  end

  def vm = self
  def trigger = self
  def after(event, &_block) = (@said["after"] ||= []) << event

  def define(name, **_options)
    yield Recorder.new((@said["machines"] ||= {})[name] = {})
  end

  def provider(name)
    yield Recorder.new((@said["providers"] ||= {})[name] = {}), self
  end

  def network(kind, **options) = (@said["networks"] ||= []) << { kind: kind, **options }
  def synced_folder(*_folders, **options) = @said["synced_folder"] = options

  def provision(name, **options)
    (@said["provisioners"] ||= []) << { name: name, **options }
  end

  def method_missing(name, *values)
    raise NoMethodError, name unless name.to_s.end_with?("=")

    @said[name.to_s.delete_suffix("=")] = values.first
  end

  def respond_to_missing?(*) = true
end

# A machine. `answers` is what it says to commands of a kind, one after the other; nil is a failure.
class Machine
  attr_reader :name, :told, :did
  attr_accessor :env, :up, :answers

  def initialize(name)
    @name = name
    @told = []
    @did = []
    @up = true
    @answers = []
  end

  State = Struct.new(:id)
  def provider_name = :docker
  def reload = self
  def state = State.new(up ? :running : :not_created)
  def ready? = true
  def communicate = self
  def ui = self
  def detail(text) = @told << text

  def sudo(command, error_check: true)
    @did << command
    said = error_check ? "" : answers.shift
    yield :stdout, said if said && block_given?
    said ? 0 : 1
  end
end

# Two machines that know each other, and a clock that `sleep` moves on.
class Site
  attr_reader :maestro, :slave

  def initialize
    @maestro = Machine.new("maestro")
    @slave = Machine.new("esclavo1")
    @slave.env = self
  end

  def machine(_name, _provider, _refresh) = @maestro

  # Run a step of the provisioner; how it failed, or nothing.
  def step(name, wait_s)
    provisioner = Hpczmq::Provisioner.new(@slave, Struct.new(:step, :wait_s).new(name, wait_s))
    clock = 0.0
    provisioner.define_singleton_method(:now_s) { clock }
    provisioner.define_singleton_method(:sleep) { |seconds| clock += seconds }
    provisioner.provision
    nil
  rescue Vagrant::Errors::VagrantError => e
    e.message
  end

  # What came of it, for the test.
  def report(failure = nil)
    puts JSON.generate(
      failed: failure, told: slave.told, slave: slave.did, maestro: maestro.did,
      hidden: Vagrant::Util::CredentialScrubber.texts
    )
  end
end
