@echo off
rem Maps a drive of Explorer to Mellanrum.
rem
rem   mellanrum-connect.cmd [ADDRESS [LOGIN [DRIVE]]]
rem   mellanrum-connect.cmd https://files.example.com/dav/ helena M:
rem
rem What is left out is asked for; the password always is, and never shown. It is a device password.

setlocal
set "ADDRESS=%~1"
set "LOGIN=%~2"
set "DRIVE=%~3"
if not defined ADDRESS set /p "ADDRESS=Address, such as https://files.example.com/dav/: "
if not defined LOGIN set /p "LOGIN=Login: "
if not defined DRIVE set "DRIVE=M:"
if not defined ADDRESS goto no_address
if not defined LOGIN goto no_login
if /i not "%ADDRESS:~0,8%"=="https://" goto no_tls

sc query webclient >nul 2>&1
if errorlevel 1 goto no_service
sc query webclient | find "RUNNING" >nul
if not errorlevel 1 goto connect
echo The service WebClient does not run. Trying to start it ...
net start webclient >nul 2>&1
if errorlevel 1 goto not_started

:connect
net use %DRIVE% "%ADDRESS%" * /user:"%LOGIN%" /persistent:yes
if errorlevel 1 goto failed
echo.
echo %DRIVE% is Mellanrum now. Documents over 47 MiB open once mellanrum.reg is imported.
explorer %DRIVE%\
exit /b 0

:failed
echo.
echo That did not work. What the number means that Windows named above:
echo   5, 86, 1244, 1326  Login and device password do not fit together, or the device was revoked.
echo   53, 67             No such address. Compare it, letter by letter; does it end in /dav/ ?
echo   59, 1790           No safe connection: Windows distrusts the certificate, or something stands between.
echo   85                 %DRIVE% is taken. Name another letter as the third argument.
echo   1219               Windows is signed in there as someone else: net use /delete, then again.
echo After a wrong password Windows may go on refusing for a minute.
exit /b 1

:no_address
echo An address is needed, such as https://files.example.com/dav/
exit /b 2

:no_login
echo A login is needed.
exit /b 2

:no_tls
echo The address must begin with https:// : Windows sends no password over anything else.
exit /b 2

:no_service
echo This Windows has no WebClient service. On Windows Server, as administrator, in PowerShell:
echo   Install-WindowsFeature WebDAV-Redirector
echo and restart.
exit /b 3

:not_started
echo It could not be started. As administrator, once:
echo   sc config webclient start= auto
echo   net start webclient
exit /b 3
