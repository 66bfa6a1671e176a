using System.Runtime.CompilerServices;

namespace NestedLearning.Gpu.Tests;

internal static class Registration
{
    // Before any test asks for a backend by name.
    [ModuleInitializer]
    internal static void Register() => GpuBackends.Register();
}
