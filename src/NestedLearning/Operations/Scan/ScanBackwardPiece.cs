namespace NestedLearning.Operations;

/// <summary>The scan's backward pass over one head.</summary>
internal readonly unsafe struct ScanBackwardPiece(
    ScanInputs inputs, ScanSettings settings, ScanSaved saved, ScanOutputGradients upstream, ScanGradients gradients) : IPieceAction
{
    public void Invoke(int piece)
    {
        ScanHead<float> scan = ScanHeads.Of(inputs, settings, saved, piece, 0, inputs.ValueDim);
        var arriving = new ScanStates<float>(
            ScanHeads.State(upstream.S, piece), ScanHeads.State(upstream.P, piece), ScanHeads.State(upstream.ChunkStart, piece));
        var results = new ScanHeadGradients<float>
        {
            Q = ScanHeads.Tokens(gradients.Q, inputs, piece),
            K = ScanHeads.Tokens(gradients.K, inputs, piece),
            U = ScanHeads.Tokens(gradients.U, inputs, piece),
            LogAlpha = ScanHeads.Tokens(gradients.LogAlpha, inputs, piece),
            Erase = ScanHeads.Tokens(gradients.Erase, inputs, piece),
            Mu = ScanHeads.Tokens(gradients.Mu, inputs, piece),
            Theta = ScanHeads.Tokens(gradients.Theta, inputs, piece),
            Initial = new(
                ScanHeads.State(gradients.S0, piece), ScanHeads.State(gradients.P0, piece), ScanHeads.State(gradients.ChunkStart, piece)),
        };
        Rows<float> dO = ScanHeads.Tokens(upstream.O, inputs, piece);
        new ScanBackward<float>(scan, dO, arriving, results, Scratch.Take(ScanBackward<float>.ScratchLength(scan))).Run();
    }
}
