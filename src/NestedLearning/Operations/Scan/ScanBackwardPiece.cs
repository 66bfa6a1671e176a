namespace NestedLearning.Operations;

/// <summary>The scan's backward pass over one head.</summary>
internal readonly unsafe struct ScanBackwardPiece(
    ScanInputs inputs, ScanSettings settings, ScanSaved saved, ScanOutputGradients upstream, ScanGradients gradients) : IPieceAction
{
    public void Invoke(int piece)
    {
        ScanHead<float> scan = ScanHeads.Of(inputs, settings, saved, piece, 0, inputs.ValueDim);
        ScanStates<float> arriving = ScanHeads.States(upstream.S, upstream.P, upstream.ChunkStart, piece);
        var results = new ScanHeadGradients<float>
        {
            Q = HeadRows.Tokens(gradients.Q, piece),
            K = HeadRows.Tokens(gradients.K, piece),
            U = HeadRows.Tokens(gradients.U, piece),
            LogAlpha = HeadRows.Tokens(gradients.LogAlpha, piece),
            Erase = HeadRows.Tokens(gradients.Erase, piece),
            Mu = HeadRows.Tokens(gradients.Mu, piece),
            Theta = HeadRows.Tokens(gradients.Theta, piece),
            Initial = ScanHeads.States(gradients.S0, gradients.P0, gradients.ChunkStart, piece),
        };
        Rows<float> dO = HeadRows.Tokens(upstream.O, piece);
        new ScanBackward<float>(scan, dO, arriving, results, Scratch.Take(ScanBackward<float>.ScratchLength(scan))).Run();
    }
}
