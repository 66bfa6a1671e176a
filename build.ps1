<#
.SYNOPSIS
Builds, tests and runs. Without a verb: builds everything, the native kernels where a C++ toolchain is there.
.DESCRIPTION
  (none)     build everything: native code if possible, then the .NET solution
  run        nl stream ARGUMENTS, the main job
  test       build and run every test, native and .NET. --quick: for the inner loop, without the sanitizers and the
             kernels of GPUs in .NET (NestedLearning.Gpu.Tests and .Cuda.Tests)
  arm        only in build.sh: the native tests for 64-bit Arm, on Debian
  avx512     only in build.sh: the native tests for AVX-512 in an emulator, on Debian
  generate   make the C# declarations of the native library and of the CUDA kernels anew from the C header and the .cuh
             files; generate --check only says what would change
  ptx        make the PTX of the CUDA kernels, as every native build does where clang++-19 is on the path, and its committed
             hashes anew, native/cuda/ptx.sha256; ptx --check only says what would change
  native     build the native kernels
  managed    build the .NET solution
  bench      measure beside TorchSharp (downloads libtorch) and keep the results; with names of cases (see nl bench
             --help) only those; --fused-commit: product plus AdamW against both in one; --table: the README's
             table from the results that are kept
  format     format all sources; format --check only says what it would change
  clean      delete everything that was built
  help       this text

  --managed-only   with no verb or test: leave the native code out (also NESTED_LEARNING_MANAGED_ONLY=1)
.EXAMPLE
./build.ps1 test
#>
$ErrorActionPreference = 'Stop'
Set-StrictMode -Version 3.0

# Not declared parameters: PowerShell would take nl's own --options for them.
$verb, $rest = @($args)
$rest = @($rest | Where-Object { $null -ne $_ })
if (-not $verb) { $verb = 'all' }
if ($verb -eq '--managed-only') { $verb = 'all'; $rest = @('--managed-only') + $rest }

$root = $PSScriptRoot
$artifacts = Join-Path $root 'artifacts'
$logs = Join-Path $artifacts 'logs'
$results = Join-Path $artifacts 'test-results'
$solution = Join-Path $root 'NestedLearning.sln'
$configuration = 'Release'
$managedOnly = $env:NESTED_LEARNING_MANAGED_ONLY -eq '1'
if ($verb -ne 'run' -and $rest.Count -gt 0 -and $rest[0] -eq '--managed-only') {
    $managedOnly = $true
    $rest = @($rest | Select-Object -Skip 1)
}

$env:DOTNET_NOLOGO = '1'
$env:DOTNET_CLI_TELEMETRY_OPTOUT = '1'
$env:DOTNET_SKIP_FIRST_TIME_EXPERIENCE = '1'

function Format-Argument([string] $Text) { if ($Text -match '[\s"]') { '"' + $Text.Replace('"', '\"') + '"' } else { $Text } }

# Begins a command in the repository's root with its output in a log; Complete-Step waits for it.
function Start-Step([string] $Name, [string] $Command, [string[]] $Arguments) {
    $null = New-Item -ItemType Directory -Force $logs
    $log = Join-Path $logs (($Name -replace '[^A-Za-z0-9]', '-') + '.log')
    $errors = "$log.errors"
    $process = Start-Process $Command -ArgumentList @($Arguments | ForEach-Object { Format-Argument $_ }) -WorkingDirectory $root `
        -NoNewWindow -PassThru -RedirectStandardOutput $log -RedirectStandardError $errors
    # Without it the exit code is not kept.
    $null = $process.Handle
    return @{ Name = $Name; Process = $process; Log = $log; Errors = $errors; Watch = [Diagnostics.Stopwatch]::StartNew(); Next = 10 }
}

# Whether a step ends well. It shows its log if not, and how far it is while it takes longer than ten seconds.
function Complete-Step($Step) {
    while (-not $Step.Process.WaitForExit(500)) {
        if ($Step.Watch.Elapsed.TotalSeconds -lt $Step.Next) { continue }
        $Step.Next += 20
        $count = Get-Content $Step.Log -Tail 5 -ErrorAction SilentlyContinue | Select-String '^\[?\s*(\d+/\d+)(\]| Test )' | Select-Object -Last 1
        $far = if ($count) { " ($($count.Matches[0].Groups[1].Value -replace '/', ' of '))" } else { '' }
        Write-Host "  ... $($Step.Name): $([int] $Step.Watch.Elapsed.TotalSeconds) s$far"
    }

    $Step.Process.WaitForExit()
    $good = $Step.Process.ExitCode -eq 0
    $seconds = [int] $Step.Watch.Elapsed.TotalSeconds
    if ($good) {
        Write-Host "  $($Step.Name): done in $seconds s"
    }
    else {
        Write-Host "  $($Step.Name): FAILED after $seconds s; the end of $($Step.Log):"
        Get-Content $Step.Log, $Step.Errors -Tail 200 | ForEach-Object { Write-Host $_ }
    }

    return $good
}

# Runs a command in the repository's root with its output in a log, which is shown if it fails.
function Invoke-Step([string] $Name, [string] $Command, [string[]] $Arguments) { Complete-Step (Start-Step $Name $Command $Arguments) }

function Assert-Step([bool] $Good) {
    if (-not $Good) { exit 1 }
}

# ---- tools ----

function Test-Command([string] $Name) { $null -ne (Get-Command $Name -CommandType Application -ErrorAction SilentlyContinue) }

function Test-Dotnet {
    if ((Test-Command 'dotnet') -and (@(& dotnet --list-sdks) -match '^10\.')) { return $true }
    Write-Host 'The .NET SDK 10 is missing. Get it from https://dotnet.microsoft.com/download/dotnet/10.0, or: winget install Microsoft.DotNet.SDK.10'
    return $false
}

function Assert-Dotnet {
    if (-not (Test-Dotnet)) { exit 1 }
}

# Puts Visual Studio's compiler, CMake and Ninja on the path of this process.
function Enter-VisualStudio {
    if ((Test-Command 'cl') -or -not ${env:ProgramFiles(x86)}) { return }
    $vswhere = Join-Path ${env:ProgramFiles(x86)} 'Microsoft Visual Studio/Installer/vswhere.exe'
    if (-not (Test-Path $vswhere)) { return }
    $folder = & $vswhere -latest -products '*' -requires Microsoft.VisualStudio.Component.VC.Tools.x86.x64 -property installationPath
    if (-not $folder) { return }
    $variables = & cmd /c "`"$folder\VC\Auxiliary\Build\vcvarsall.bat`" x64 >nul 2>&1 && set"
    foreach ($line in $variables) {
        $name, $value = $line -split '=', 2
        if ($value) { Set-Item -Path "env:$name" -Value $value }
    }
}

$nativeReason = $null

# Whether the native code can be built; says once why not.
function Test-Native {
    if ($null -eq $script:nativeReason) {
        $script:nativeReason = ''
        if ($managedOnly) {
            $script:nativeReason = 'as asked'
        }
        elseif (-not ((Test-Path (Join-Path $root 'CMakeLists.txt')) -and (Test-Path (Join-Path $root 'native')))) {
            $script:nativeReason = 'there is no native/ folder here'
        }
        else {
            Enter-VisualStudio
            $missing = @()
            if (-not (@('cl', 'c++', 'g++', 'clang++') | Where-Object { Test-Command $_ })) {
                $missing += 'a C++ compiler (winget install Microsoft.VisualStudio.2022.BuildTools, with the workload for C++ desktop programs)'
            }
            if (-not (Test-Command 'cmake')) { $missing += 'CMake (winget install Kitware.CMake)' }
            if (-not (Test-Command 'ninja')) { $missing += 'Ninja (winget install Ninja-build.Ninja)' }
            if ($missing) { $script:nativeReason = "missing: $($missing -join ', ')" }
        }

        if ($script:nativeReason) {
            Write-Host "No native kernels, everything runs on the managed backend (C#): $script:nativeReason."
        }
    }

    return -not $script:nativeReason
}

# ---- verbs ----

function Build-Native([string] $Preset, [string] $Target = 'all') {
    (Invoke-Step "configure native $Preset" 'cmake' @('--preset', $Preset)) -and
    (Invoke-Step "build native $Preset" 'cmake' @('--build', '--preset', $Preset, '--target', $Target, '-j', [Environment]::ProcessorCount))
}

# Says that the CUDA kernels are left out, where they are.
function Show-Ptx {
    if (-not (Test-Command 'clang++-19')) {
        Write-Host "No CUDA kernels written by hand, NVIDIA GPUs run ILGPU's: their compiler, clang++-19, is not on the path."
    }
}

function Build-Managed { Invoke-Step 'build .NET' 'dotnet' @('build', $solution, '-c', $configuration, '-v', 'quiet') }

function Build-NativeIfPossible([string] $Target = 'all') {
    if ((Test-Native) -and $Target -eq 'all') { Show-Ptx }
    if (Test-Native) { Assert-Step (Build-Native 'release' $Target) }
}

function Get-NativeLibrary([string] $Preset) {
    Get-ChildItem (Join-Path $artifacts "native/$Preset") -File -ErrorAction SilentlyContinue |
        Where-Object Name -In 'libnested_learning.so', 'libnested_learning.dylib', 'nested_learning.dll'
}

# nl alone, and of the native library what this machine needs; where all of it was built before, that. What is built here
# for this machine alone lies in a folder of its own, and no other verb takes it.
function Invoke-Run {
    Assert-Dotnet
    $own = Join-Path $artifacts 'bin/nl/release'
    # Without analysis, but where the whole solution was built, which would then be compiled again.
    $quick = if (Test-Path (Join-Path $artifacts 'bin/NestedLearning.Tests')) { 'false' } else { 'true' }
    $native = Test-Native
    $all = $native -and (Get-NativeLibrary 'release')
    Build-PtxForGpu
    if ($all) { Assert-Step (Build-Native 'release' 'nested_learning') }
    $nl = Start-Step 'build nl' 'dotnet' @('build', (Join-Path $root 'src/nl/nl.csproj'), '-c', $configuration, '-v', 'quiet', "-p:QuickBuild=$quick")
    $good = -not $native -or $all -or (Build-Native 'run')
    Assert-Step ((Complete-Step $nl) -and $good)
    if ($native -and -not $all) {
        $library = Get-NativeLibrary 'run'
        $copy = Join-Path $own $library.Name
        if (-not (Test-Path $copy) -or (Get-FileHash $copy).Hash -ne (Get-FileHash $library.FullName).Hash) {
            Copy-Item $library.FullName $copy -Force
        }
    }

    & dotnet (Join-Path $own 'nl.dll') stream @rest
    exit $LASTEXITCODE
}

function Invoke-Generate {
    Assert-Dotnet
    Assert-Step (Invoke-Step 'build the generator' 'dotnet' @('build', 'tools/NestedLearning.Generator', '-c', $configuration, '-v', 'quiet'))
    & dotnet (Join-Path $artifacts 'bin/NestedLearning.Generator/release/NestedLearning.Generator.dll') @rest $root
    exit $LASTEXITCODE
}

function Invoke-Ptx {
    if (-not (Test-Native)) { exit 1 }
    if (-not (Test-Command 'clang++-19')) {
        Write-Host 'build.ps1: clang++-19, which makes the PTX, is not on the path.'
        exit 1
    }

    Assert-Step (Build-Native 'release' 'ptx')
    $committed = Join-Path $root 'native/cuda/ptx.sha256'
    $made = Join-Path $artifacts 'ptx/ptx.sha256'
    if ($rest -notcontains '--check') { Copy-Item $made $committed -Force; return }
    $changes = @(Compare-Object @(Get-Content $committed) @(Get-Content $made))
    if ($changes) {
        $changes | ForEach-Object { Write-Host "$($_.SideIndicator) $($_.InputObject)" }
        Write-Host 'build.ps1: native/cuda/ptx.sha256 is not of what this compiler makes of the sources; ./build.ps1 ptx makes it anew.'
        exit 1
    }
}

# PTX where an NVIDIA driver is, for verbs that build of the native code only what this machine runs.
function Build-PtxForGpu {
    if (-not (Test-Native) -or -not (Test-Command 'nvidia-smi')) { return }
    Show-Ptx
    if (Test-Command 'clang++-19') { Assert-Step (Build-Native 'release' 'ptx') }
}

function Invoke-Bench {
    Assert-Dotnet
    Build-NativeIfPossible 'nested_learning'
    Build-PtxForGpu
    Push-Location $root
    try { & dotnet run -c $configuration --project benchmarks/NestedLearning.Benchmarks -p:WithLibtorch=true -- @rest }
    finally { Pop-Location }
    exit $LASTEXITCODE
}

function Invoke-Format {
    Assert-Dotnet
    $check = $rest -contains '--check'
    $good = $true
    $options = if ($check) { @('--verify-no-changes') } else { @() }
    & dotnet format $solution @options
    $good = $good -and $LASTEXITCODE -eq 0
    if (Test-Path (Join-Path $root 'native')) {
        if (-not (Test-Command 'clang-format')) {
            Write-Host 'clang-format is missing; it comes with LLVM: winget install LLVM.LLVM'
            exit 1
        }

        $sources = Get-ChildItem (Join-Path $root 'native') -Recurse -File -Include *.h, *.c, *.cc, *.cu, *.cuh
        $options = if ($check) { @('--dry-run', '-Werror') } else { @('-i') }
        & clang-format @options @($sources.FullName)
        $good = $good -and $LASTEXITCODE -eq 0
    }

    if (-not $good) { exit 1 }
}

function Invoke-Clean {
    if (Test-Path $artifacts) { Remove-Item $artifacts -Recurse -Force }
    Write-Host 'Deleted what was built.'
}

# ---- test ----

$passed = 0
$failed = 0
$skipped = 0
$rows = [Collections.Generic.List[string]]::new()

# One line of the summary.
function Add-Count([string] $Name, [int] $Passed, [int] $Failed, [int] $Skipped) {
    $script:passed += $Passed
    $script:failed += $Failed
    $script:skipped += $Skipped
    $script:rows.Add(('{0,-46} {1,5} passed {2,6} failed {3,6} skipped' -f $Name, $Passed, $Failed, $Skipped))
}

# A step that did not work counts as one failure, so that nothing can pass by not running.
function Add-Failure([string] $Name) { Add-Count $Name 0 1 0 }

function Test-NativePreset([string] $Preset) {
    $name = "native, $Preset"
    $file = Join-Path $results "native-$Preset.xml"
    if (-not (Build-Native $Preset)) { Add-Failure "${name}: build"; return }
    $null = Invoke-Step "test native $Preset" 'ctest' @('--preset', $Preset, '--output-junit', $file, '-j', [Environment]::ProcessorCount)
    if (-not (Test-Path $file)) { Add-Failure "${name}: no results"; return }
    $suite = ([xml] (Get-Content $file -Raw)).testsuite
    if ([int] $suite.tests -eq 0) { Add-Failure "${name}: no tests"; return }
    $skips = [int] $suite.skipped + [int] $suite.disabled
    Add-Count $name ([int] $suite.tests - [int] $suite.failures - $skips) $suite.failures $skips
}

function Test-ManagedProject([string] $Name) {
    $file = Join-Path $results "$Name.trx"
    $program = Join-Path $artifacts "bin/$Name/release/$Name.dll"
    $good = Invoke-Step "test $Name" 'dotnet' @($program, '-trx', $file, '-noColor', '-noLogo')
    if (-not (Test-Path $file)) { Add-Failure "${Name}: no results"; return }
    $counters = ([xml] (Get-Content $file -Raw)).TestRun.ResultSummary.Counters
    $total = [int] $counters.total
    if ($total -eq 0) { Add-Failure "${Name}: no tests"; return }
    Add-Count $Name $counters.passed $counters.failed ($total - [int] $counters.passed - [int] $counters.failed)
    # A fixture that throws while it is taken down fails no test.
    if (-not $good -and [int] $counters.failed -eq 0) { Add-Failure "${Name}: runner failed" }
}

function Invoke-Test {
    $quick = $rest -contains '--quick'
    $unknown = @($rest | Where-Object { $_ -ne '--quick' })
    if ($unknown) {
        Write-Host "build.ps1: test knows --quick and --managed-only, not '$($unknown[0])'."
        exit 1
    }

    if (Test-Path $results) { Remove-Item $results -Recurse -Force }
    $null = New-Item -ItemType Directory -Force $results
    if (Test-Native) {
        if (-not $quick) { Show-Ptx }
        Test-NativePreset 'release'
        # The sanitizers of the asan-ubsan preset are GCC's and Clang's.
        if (-not $quick -and -not (Test-Command 'cl')) { Test-NativePreset 'asan-ubsan' }
        # With a compiler here a missing native library is an error, not a reason to test less.
        $env:NESTED_LEARNING_REQUIRE_NATIVE = '1'
    }

    if ((Test-Dotnet) -and (Build-Managed)) {
        Get-ChildItem (Join-Path $root 'tests') -Directory -Filter '*.Tests' |
            Where-Object { -not $quick -or $_.Name -notmatch '\.(Gpu|Cuda)\.Tests$' } | ForEach-Object { Test-ManagedProject $_.Name }
    }
    else {
        Add-Failure '.NET: build'
    }

    if ($nativeReason) { Write-Output "No native kernels were tested: $nativeReason." }
    if ($quick) { Write-Output 'Left out, as it was to be quick: the sanitizers, and the kernels of GPUs in .NET.' }
    $rows | ForEach-Object { Write-Output $_ }
    Write-Output "$passed passed, $failed failed, $skipped skipped"
    if ($failed -gt 0) { exit 1 }
}

switch ($verb) {
    'all' {
        Assert-Dotnet
        Build-NativeIfPossible
        Assert-Step (Build-Managed)
    }
    'run' { Invoke-Run }
    'test' { Invoke-Test }
    'arm' {
        Write-Host "build.ps1: arm takes Debian's cross compiler and qemu-user; on Debian: ./build.sh arm"
        exit 1
    }
    'avx512' {
        Write-Host "build.ps1: avx512 takes Debian's Bochs and kernel; on Debian: ./build.sh avx512"
        exit 1
    }
    'native' {
        if (-not (Test-Native)) { exit 1 }
        Show-Ptx
        Assert-Step (Build-Native 'release')
    }
    'managed' {
        Assert-Dotnet
        Assert-Step (Build-Managed)
    }
    'ptx' { Invoke-Ptx }
    'generate' { Invoke-Generate }
    'bench' { Invoke-Bench }
    'format' { Invoke-Format }
    'clean' { Invoke-Clean }
    { $_ -in 'help', '-h', '--help' } { Get-Help $PSCommandPath -Detailed }
    default {
        Get-Help $PSCommandPath -Detailed
        Write-Host "build.ps1: there is no verb '$verb'."
        exit 1
    }
}
