<#
.SYNOPSIS
Maps a drive of Explorer to Mellanrum.

.EXAMPLE
powershell -ExecutionPolicy Bypass -File mellanrum-connect.ps1 -Address https://files.example.com/dav/ -Login helena -Drive M

.DESCRIPTION
What is left out is asked for. The password is a device password; it is never shown, and never stands on a command line.
#>
[CmdletBinding()]
param(
    [Parameter(Mandatory = $true, HelpMessage = 'Such as https://files.example.com/dav/')]
    [string]$Address,
    [Parameter(Mandatory = $true)]
    [string]$Login,
    [ValidatePattern('^[A-Za-z]:?$')]
    [string]$Drive = 'M'
)
$ErrorActionPreference = 'Stop'
$letter = $Drive.Substring(0, 1).ToUpper() + ':'

$meanings = @{
    5    = 'Login and device password do not fit together, or the device was revoked.'
    53   = 'No such address. Compare it, letter by letter; does it end in /dav/ ?'
    59   = 'No safe connection: Windows distrusts the certificate, or something stands between.'
    67   = 'No such address. Compare it, letter by letter; does it end in /dav/ ?'
    85   = "$letter is taken. Name another letter by -Drive."
    86   = 'Login and device password do not fit together, or the device was revoked.'
    1219 = 'Windows is signed in there as someone else: net use /delete, then again.'
    1244 = 'Login and device password do not fit together, or the device was revoked.'
    1326 = 'Login and device password do not fit together, or the device was revoked.'
    1790 = 'No safe connection: Windows distrusts the certificate, or something stands between.'
}

function Stop-With([string]$Words, [int]$Code) {
    Write-Host $Words
    exit $Code
}

if ($Address -notmatch '^https://') {
    Stop-With 'The address must begin with https:// : Windows sends no password over anything else.' 2
}

$service = Get-Service -Name WebClient -ErrorAction SilentlyContinue
if ($null -eq $service) {
    Stop-With 'This Windows has no WebClient service. On Windows Server, as administrator: Install-WindowsFeature WebDAV-Redirector, and restart.' 3
}
if ($service.Status -ne 'Running') {
    try {
        Start-Service -Name WebClient
    } catch {
        Stop-With 'The service WebClient does not run. As administrator, once: Set-Service WebClient -StartupType Automatic; Start-Service WebClient' 3
    }
}

$secret = Read-Host -Prompt "Device password of $Login" -AsSecureString
$credential = New-Object System.Management.Automation.PSCredential($Login, $secret)
try {
    $network = New-Object -ComObject WScript.Network
    $network.MapNetworkDrive($letter, $Address, $true, $Login, $credential.GetNetworkCredential().Password)
} catch {
    $problem = $_.Exception
    while ($null -ne $problem.InnerException) { $problem = $problem.InnerException }
    $number = $problem.HResult -band 0xFFFF
    $words = $meanings[$number]
    if ($null -eq $words) { $words = $problem.Message }
    Stop-With "That did not work (Windows names error $number). $words After a wrong password Windows may go on refusing for a minute." 1
}
Write-Host "$letter is Mellanrum now. Documents over 47 MiB open once mellanrum.reg is imported."
Invoke-Item "$letter\"
