@echo off
rem SPDX-License-Identifier: Apache-2.0
setlocal EnableExtensions DisableDelayedExpansion
cd /d "%~dp0.."

set "name=%~1"
if "%name%"=="" set "name=python"
if "%name%"=="--help" goto usage
for %%s in (python kernels code-runner plugins network check-host) do if "%name%"=="%%s" goto known
echo samples\run: no sample "%name%"; there are: python, kernels, code-runner, plugins, network, check-host>&2
exit /b 2

:usage
echo Runs a sample on Windows 10 1903 or newer, x64, whose feature "Virtual Machine Platform" is on, as an administrator
echo (elevated). See README.md for what has never been tried there.
echo.
echo   samples\run.cmd [NAME [ARGUMENT...]]
echo.
echo   python [IMAGE]       (the default) one image with Python, python:3.12-slim otherwise, under our own kernel
echo   kernels [KERNEL...]  one program under each of these kernels, and a table
echo   code-runner [PORT]   an HTTP server, on port 8080 otherwise, that runs Python programs, each in a sandbox of its own
echo   code-runner --demo   the same, with two programs posted to it
echo   plugins              a host of plug-ins with a warm sandbox for each tenant
echo   network              what a sandbox reaches and is refused, and a web server in it
echo   check-host           says what this host can do, and what to do about what it cannot
echo.
echo It needs Java 17 or newer, Maven, and Nacelle's artifacts in the local repository. What it builds stays in
echo samples\target\windows, which may be deleted.
exit /b 0

:known
set "arguments="
set count=0
:next
shift
if "%~1"=="" goto arguments
set "arguments=%arguments% "%~1""
set /a count=count+1
if not "%name%"=="kernels" if %count%==2 goto many
goto next

:many
echo samples\run: %name% takes no "%~1">&2
exit /b 2

:arguments
if %count%==0 goto java
if "%name%"=="plugins" goto none
if "%name%"=="network" goto none
if "%name%"=="check-host" goto none
goto java
:none
echo samples\run: %name% takes no%arguments%>&2
exit /b 2

:java
set "java=java"
if defined JAVA_HOME set "java=%JAVA_HOME%\bin\java"
set "said=%TEMP%\nacelle-samples-%RANDOM%%RANDOM%"
set "major=0"
"%java%" -version 2>"%said%" && for /f "usebackq tokens=2,3 delims=. " %%v in ("%said%") do if "%%v"=="version" call :major %%w
del "%said%" 2>nul
if %major% geq 17 goto built
echo samples\run: Java 17 or newer is needed, on the PATH or in JAVA_HOME: for example, winget install EclipseAdoptium.Temurin.17.JDK>&2
exit /b 2

rem The first line counts: openjdk version "17.0.9" 2023-10-17
:major
if not "%major%"=="0" exit /b 0
set "major=%~1"
set "major=%major:"=%"
exit /b 0

:built
set "built=samples\target\windows"
if exist "%built%\lib" goto run
if exist "%USERPROFILE%\.m2\repository\dev\nacelle\nacelle" goto maven
echo samples\run: Nacelle's artifacts are not in %USERPROFILE%\.m2\repository\dev\nacelle. Build them on Debian 12, as in WSL or>&2
echo samples\run: in a container, with "mvn -DskipTests install", and copy that directory: it is the same for every host.>&2
exit /b 2

:maven
call mvn -version >nul 2>nul && goto build
echo samples\run: Maven is needed, on the PATH: https://maven.apache.org/download.cgi>&2
exit /b 2

:build
echo samples\run: building ...>&2
call mvn -B -q -ntp -f samples\pom.xml -Doutput.folder=target\windows -DskipTests package dependency:copy-dependencies ^
  -DincludeScope=runtime -DoutputDirectory=target\windows\lib || exit /b 1

:run
set "sample=%name%"
set "image= python:3.12-slim"
if not "%name%"=="python" goto image
set "sample=kernels"
if not %count%==0 set "image=%arguments%"
set "arguments= default"
:image
if "%name%"=="kernels" if %count%==0 set "arguments= default"
if "%name%"=="check-host" set "image="
"%java%" -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -p "%built%\classes;%built%\lib" -m dev.nacelle.samples/dev.nacelle.samples.Launcher %sample%%image%%arguments%
exit /b %errorlevel%
