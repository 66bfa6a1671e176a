using NestedLearning.Operations;

namespace NestedLearning;

internal sealed partial class ManagedBackend
{
    private protected override void RidgeRead(in RidgeRun run) => Work.For(run.ReadPieces, run.Cost, new RidgeReadPiece(run));

    private protected override void RidgeWrite(in RidgeRun run) => Work.For(run.WritePieces, 2 * run.Cost, new RidgeWritePiece(run));
}
