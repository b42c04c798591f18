<#
.SYNOPSIS
The cluster on machines that are there: over ssh, from a Windows host.

.DESCRIPTION
Deploys the cluster to machines that run Docker and let a user in by ssh with a key, with sudo: the
master and both memorias to one address, a slave each to others. The registry runs and has the
images. Run again, it brings what runs to what is here. It takes the same steps as
deploy-distributed.sh, and Windows' own OpenSSH client (ssh, scp); PowerShell 5.1 or newer.

.PARAMETER Registry
Where the images are: HOST:PORT. Each parameter comes from the variable that deploy-distributed.sh has
for it, if that is set (HPC_REGISTRY, HPC_VERSION, MAESTRO_IP, HPC_SSH_USER; HPC_NET and HPC_SLAVES
for the slaves); this one is else 192.168.56.1:5000.

.PARAMETER Version
Their tag; the version of the source.

.PARAMETER Master
Address of the master's machine; 192.168.56.10.

.PARAMETER Slaves
Addresses of the slaves' machines, which are called esclavo1, esclavo2, ... in this order;
192.168.56.11.

.PARAMETER User
Who is let in by ssh; vagrant.

.PARAMETER Identity
File of the key to get in with; without it ssh's own.

.PARAMETER DryRun
Prints what it would do, and does nothing.

.EXAMPLE
registry\deploy-distributed.ps1 -Slaves 192.168.56.11, 192.168.56.12
#>
[CmdletBinding()]
param(
    [string]$Registry = $env:HPC_REGISTRY,
    [string]$Version = $env:HPC_VERSION,
    [string]$Master = $env:MAESTRO_IP,
    [string[]]$Slaves = @(),
    [string]$User = $env:HPC_SSH_USER,
    [string]$Identity = "",
    [switch]$DryRun
)

Set-StrictMode -Version 2
$ErrorActionPreference = "Stop"

function Stop-Deployment {
    param([string]$Message)
    [Console]::Error.WriteLine("deploy-distributed.ps1: $Message")
    exit 1
}

# They become parts of commands that root runs on the machines.
function Assert-Value {
    param([string]$Name, [string]$Value, [string]$Pattern, [string]$Must)
    if ($Value -notmatch $Pattern) {
        [Console]::Error.WriteLine("deploy-distributed.ps1: $Name = ${Value}: must be $Must")
        exit 2
    }
}

$Root = Split-Path -Parent $PSScriptRoot
$Net = if ($env:HPC_NET) { $env:HPC_NET } else { "192.168.56" }
if (-not $Registry) {
    $Registry = "192.168.56.1:5000"
}
if (-not $Version) {
    $Source = Get-Content -Raw (Join-Path $Root "hpczmq/_version.py")
    $Version = [regex]::Match($Source, '(?m)^__version__.* = "(.*)"').Groups[1].Value
}
if (-not $Master) {
    $Master = "$Net.10"
}
if (-not $User) {
    $User = "vagrant"
}
if ($Slaves.Count -eq 0) {
    $Count = if ($env:HPC_SLAVES) { [int]$env:HPC_SLAVES } else { 1 }
    $Slaves = @(1..$Count | ForEach-Object { "$Net.$(10 + $_)" })
}
# In the user's home: what root runs from there nobody else may change.
$Bundle = "hpczmq-deploy"
$Options = @("-o", "BatchMode=yes", "-o", "ConnectTimeout=10")
if ($Identity) {
    $Options += @("-i", $Identity)
}

Assert-Value -Name "Registry" -Value $Registry -Pattern '^[A-Za-z0-9.-]+:[0-9]+$' -Must "HOST:PORT"
Assert-Value -Name "Version" -Value $Version -Pattern '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$' -Must "a tag"
foreach ($Address in @($Master) + $Slaves) {
    Assert-Value -Name "address" -Value $Address -Pattern '^[A-Za-z0-9.-]+$' -Must "an address"
}
Assert-Value -Name "User" -Value $User -Pattern '^[A-Za-z0-9_][A-Za-z0-9_.-]*$' -Must "a user's name"

# Say a command and run it; only say it in a dry run.
function Invoke-Native {
    param([string]$Program, [string[]]$Arguments, [string]$Remedy, [string]$Text = "")
    Write-Output "+ $Program $($Arguments -join ' ')"
    if ($DryRun) {
        return
    }
    if ($Text) {
        $Text | & $Program @Arguments
    }
    else {
        & $Program @Arguments
    }
    if ($LASTEXITCODE -ne 0) {
        Stop-Deployment $Remedy
    }
}

# A command on a machine.
function Invoke-There {
    param([string]$Address, [string]$Command, [string]$Remedy, [string]$Text = "")
    $Arguments = $Options + @("$User@$Address", $Command)
    Invoke-Native -Program "ssh" -Arguments $Arguments -Remedy $Remedy -Text $Text
}

# machine.sh there, with the settings of here.
function Get-MachineCommand {
    param([string]$Name, [string]$What)
    $Settings = "HPC_REGISTRY=$Registry HPC_VERSION=$Version MAESTRO_IP=$Master ESCLAVO=$Name"
    return "sudo -n env $Settings bash $Bundle/registry/machine.sh $What"
}

Write-Output "[1/7] tools, registry"
foreach ($Tool in @("ssh", "scp")) {
    if (-not (Get-Command $Tool -ErrorAction SilentlyContinue)) {
        Stop-Deployment "${Tool}: not found: install the OpenSSH client (Settings, Optional features)"
    }
}
if (-not $DryRun) {
    try {
        Invoke-WebRequest -UseBasicParsing -TimeoutSec 5 -Uri "http://$Registry/v2/" | Out-Null
    }
    catch {
        # Whatever it answers, it is there. PowerShell 7 has no such property when nobody does.
        if (-not $_.Exception.PSObject.Properties["Response"]) {
            Stop-Deployment "${Registry}: no registry answers there: start it (registry/start.sh), or name it with -Registry"
        }
    }
}

Write-Output "[2/7] reaches each machine: $Master $($Slaves -join ' ')"
$Machines = @($Master) + $Slaves
foreach ($Address in $Machines) {
    $Remedy = "${Address}: can't be used: let $User in by ssh with a key, with sudo without a password, and have Docker run there"
    Invoke-There -Address $Address -Command "sudo -n docker info >/dev/null" -Remedy $Remedy
}

Write-Output "[3/7] brings the files"
$Files = @("registry/common.sh", "registry/cluster.sh", "registry/machine.sh", "registry/trust.sh")
$Files += @("dockerfiles/compose.yaml", "dockerfiles/keys.sh")
if (Test-Path (Join-Path $Root "registry/certs/registry.crt")) {
    $Files += "registry/certs/registry.crt"
}
foreach ($Address in $Machines) {
    $Command = "rm -rf $Bundle && mkdir -p -m 700 $Bundle && mkdir -p $Bundle/registry/certs $Bundle/dockerfiles"
    Invoke-There -Address $Address -Command $Command -Remedy "${Address}: $Bundle can't be made there"
    foreach ($File in $Files) {
        $Arguments = @("-q") + $Options + @((Join-Path $Root $File), "$User@${Address}:$Bundle/$File")
        Invoke-Native -Program "scp" -Arguments $Arguments -Remedy "${Address}: $File can't be brought there: is there room in the home of $User?"
    }
    # A checkout on Windows may have Windows' line ends.
    $Command = "find $Bundle -type f -exec sed -i 's/\r`$//' {} +"
    Invoke-There -Address $Address -Command $Command -Remedy "${Address}: the files can't be changed there"
}

Write-Output "[4/7] the master and the memorias on $Master"
$Command = Get-MachineCommand -Name "maestro" -What "master"
Invoke-There -Address $Master -Command $Command -Remedy "${Master}: what went wrong stands above"

Write-Output "[5/7] what the slaves join by"
$Joins = ""
if (-not $DryRun) {
    $Arguments = $Options + @("$User@$Master", (Get-MachineCommand -Name "maestro" -What "join"))
    $Joins = (& ssh @Arguments) -join "`n"
    if ($LASTEXITCODE -ne 0) {
        Stop-Deployment "${Master}: does not tell what slaves join by: see above"
    }
}

$Number = 0
foreach ($Address in $Slaves) {
    $Number = $Number + 1
    Write-Output "[6/7] esclavo$Number on $Address"
    $Command = Get-MachineCommand -Name "esclavo$Number" -What "slave"
    Invoke-There -Address $Address -Command $Command -Text $Joins -Remedy "${Address}: what went wrong stands above"
}

Write-Output "[7/7] waits until each slave is ready, and takes the admin's key"
if ($DryRun) {
    exit 0
}
$Number = 0
foreach ($Address in $Slaves) {
    $Number = $Number + 1
    # What it has to say meanwhile is thrown away there: PowerShell 5.1 takes it for an error.
    $Command = (Get-MachineCommand -Name "esclavo$Number" -What "ready") + " 2>/dev/null"
    $Arguments = $Options + @("$User@$Master", $Command)
    $Until = (Get-Date).AddSeconds(120)
    $Ready = $false
    while (-not $Ready) {
        & ssh @Arguments
        $Ready = ($LASTEXITCODE -eq 0)
        if (-not $Ready) {
            if ((Get-Date) -gt $Until) {
                Stop-Deployment "esclavo$Number is ready: not in 120 s: see its log there (docker compose logs, in /opt/hpczmq)"
            }
            Start-Sleep -Seconds 1
        }
    }
}
$Secrets = Join-Path $Root "dockerfiles/secrets"
New-Item -ItemType Directory -Force -Path $Secrets | Out-Null
$Arguments = $Options + @("$User@$Master", "sudo -n cat /opt/hpczmq/secrets/admin.key")
$Key = (& ssh @Arguments) -join "`n"
if ($LASTEXITCODE -ne 0) {
    Stop-Deployment "${Master}: does not give the admin's key: see above"
}
$KeyFile = Join-Path $Secrets "admin-$Master.key"
# Without the mark that PowerShell 5.1 begins a file with.
[IO.File]::WriteAllText($KeyFile, "$Key`n")
Invoke-There -Address $Master -Command (Get-MachineCommand -Name "maestro" -What "status") -Remedy "${Master}: does not tell how the cluster is"
Write-Output "use it from Linux (chmod 600 first): HPCZMQ_KEY=$KeyFile hpczmq status --master $Master"
exit 0
