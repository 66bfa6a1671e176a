using NestedLearning.Gpu.Kernels;

namespace NestedLearning.Gpu;

internal partial class IlgpuBackend
{
    private static Matrix Tokens(Tensor? tensor, int length)
    {
        if (tensor is null)
            return default;
        int time = tensor.Shape[1], heads = tensor.Shape[2], dim = tensor.Shape.Rank == 4 ? tensor.Shape[3] : 1;
        return new()
        {
            View = View(tensor), Batch = time * heads * dim, Head = dim, Chunk = length * heads * dim, Row = heads * dim, Column = 1,
        };
    }

    /// <summary>A state a head, [B, H, Dk, Dv], or one a chunk, [B, H, chunks, Dk, Dv].</summary>
    private static Matrix State(Tensor? tensor)
    {
        if (tensor is null)
            return default;
        int chunks = tensor.Shape.Rank == 5 ? tensor.Shape[2] : 1, columns = tensor.Shape[^1], size = tensor.Shape[^2] * columns;
        return new()
        {
            View = View(tensor), Batch = tensor.Shape[1] * chunks * size, Head = chunks * size, Chunk = size, Row = columns, Column = 1,
        };
    }

    /// <summary>A matrix of its own for each problem.</summary>
    private static Matrix Take(Workspace workspace, Problems problems, int rows, int columns = 1)
    {
        int size = rows * columns;
        return new()
        {
            View = workspace.Take((long)problems.Count * size).View,
            Batch = problems.Heads * problems.Chunks * size,
            Head = problems.Chunks * size,
            Chunk = size,
            Row = columns,
            Column = 1,
        };
    }

    /// <summary>One chunk of each head: the problems of a launch that has only them, and the part of a matrix that they take.</summary>
    private static Problems Only(Problems problems, int chunk) =>
        problems with { Chunks = 1, Tokens = problems.Tokens - chunk * problems.Length };

    private static Matrix Only(Matrix matrix, int chunk) => matrix with { Start = matrix.Start + chunk * matrix.Chunk };

    /// <summary>to += from.</summary>
    private void AddStates(Problems problems, Matrix from, Matrix to, int rows, int columns) =>
        Product(new() { Problems = problems, C = to, Residual = from, M = rows, N = columns, Accumulate = 1 });

    /// <summary>to = from, or zeros where that is not given.</summary>
    private void CopyStates(Problems problems, Matrix from, Matrix to, int rows, int columns) =>
        Product(new() { Problems = problems, C = to, Residual = from, M = rows, N = columns });
}
