using NestedLearning.Native;
using NestedLearning.Operations;

namespace NestedLearning;

internal sealed unsafe partial class CpuBackend
{
    private protected override void RidgeRead(in RidgeRun run)
    {
        RidgeArguments native = Ridge(run);
        Work.For(run.ReadPieces, run.Cost, new RidgeReadAction(native, run.RowPieces));
    }

    private protected override void RidgeWrite(in RidgeRun run) =>
        Work.For(run.WritePieces, 2 * run.Cost, new PieceAction<RidgeArguments>(Ridge(run), &Kernels.RidgeWrite));

    private static RidgeArguments Ridge(in RidgeRun run) => new()
    {
        Size = (uint)sizeof(RidgeArguments),
        Samples = run.Samples,
        Features = run.Features,
        Outputs = run.Outputs,
        Rows = run.Rows,
        X = run.X,
        F = run.F,
        V = run.V,
        O = run.O,
        E = run.E,
        W = run.W,
        WLow = run.WLow,
    };

    // Blocks of rows, then blocks of outputs.
    private readonly struct RidgeReadAction(RidgeArguments arguments, int rowPieces) : IPieceAction
    {
        public void Invoke(int piece)
        {
            RidgeArguments local = arguments;
            long first = piece < rowPieces ? piece : piece - rowPieces;
            Status.ThrowIfFailed(piece < rowPieces
                ? Kernels.RidgeReadRows(&local, first, first + 1) : Kernels.RidgeReadOutputs(&local, first, first + 1));
        }
    }
}
