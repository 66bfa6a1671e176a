namespace NestedLearning.Native;

/// <summary>
/// <c>nested_learning.h</c>: its constants and functions, in files that are made from it, one for each section of the header. Every
/// function but the plain queries returns a status for <see cref="Status.ThrowIfFailed"/>.
/// </summary>
internal static unsafe partial class Kernels
{
    public const string Library = "nested_learning";
}
