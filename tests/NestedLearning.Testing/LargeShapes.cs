using System.Runtime.CompilerServices;
using Xunit;
using Xunit.Sdk;
using Xunit.v3;

namespace NestedLearning.Testing;

/// <summary>
/// A suite on a backend that is hundreds of times slower than plain C#: it has no test of large shapes, goes through small
/// ones where a test goes through many (<see cref="BackendTests.Small"/>), and hides a suite's cases by fewer of its own.
/// </summary>
[AttributeUsage(AttributeTargets.Class)]
public sealed class SmallShapesAttribute : Attribute;

/// <summary>A test that needs large shapes, or thousands of launches: none of a suite with <see cref="SmallShapesAttribute"/>.</summary>
[XunitTestCaseDiscoverer(typeof(LargeFactDiscoverer))]
public sealed class LargeFactAttribute([CallerFilePath] string? sourceFilePath = null, [CallerLineNumber] int sourceLineNumber = -1)
    : FactAttribute(sourceFilePath, sourceLineNumber);

/// <inheritdoc cref="LargeFactAttribute"/>
[XunitTestCaseDiscoverer(typeof(LargeTheoryDiscoverer))]
public sealed class LargeTheoryAttribute([CallerFilePath] string? sourceFilePath = null, [CallerLineNumber] int sourceLineNumber = -1)
    : TheoryAttribute(sourceFilePath, sourceLineNumber);

/// <summary>Finds <see cref="LargeFactAttribute"/>.</summary>
public sealed class LargeFactDiscoverer : FactDiscoverer
{
    /// <inheritdoc/>
    public override ValueTask<IReadOnlyCollection<IXunitTestCase>> Discover(ITestFrameworkDiscoveryOptions discoveryOptions,
        IXunitTestMethod testMethod, IFactAttribute factAttribute) =>
        HasOnlySmallShapes(testMethod) ? new(Array.Empty<IXunitTestCase>()) : base.Discover(discoveryOptions, testMethod, factAttribute);

    internal static bool HasOnlySmallShapes(IXunitTestMethod testMethod) =>
        testMethod.TestClass.Class.IsDefined(typeof(SmallShapesAttribute), inherit: false);
}

/// <summary>Finds <see cref="LargeTheoryAttribute"/>.</summary>
public sealed class LargeTheoryDiscoverer : TheoryDiscoverer
{
    /// <inheritdoc/>
    public override ValueTask<IReadOnlyCollection<IXunitTestCase>> Discover(ITestFrameworkDiscoveryOptions discoveryOptions,
        IXunitTestMethod testMethod, IFactAttribute factAttribute) =>
        LargeFactDiscoverer.HasOnlySmallShapes(testMethod) ? new(Array.Empty<IXunitTestCase>())
        : base.Discover(discoveryOptions, testMethod, factAttribute);
}
