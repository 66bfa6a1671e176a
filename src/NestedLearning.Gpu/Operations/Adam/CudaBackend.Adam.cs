using System.Runtime.InteropServices;

namespace NestedLearning.Gpu.Cuda;

internal sealed unsafe partial class CudaBackend
{
    public override void AdamCommit(ReadOnlySpan<AdamTensors> tensors, ReadOnlySpan<AdamSettings> settings, Span<CommitChange> changes)
    {
        const int Elements = AdamKernels.Threads * 4;
        if (!CanRun(AdamKernels.File, out string? reason))
        {
            FallBack(reason);
            base.AdamCommit(tensors, settings, changes);
            return;
        }

        using var workspace = new Workspace(this);
        // Sums of all launches, which are read once the last is queued.
        DeviceStorage? sums = changes.IsEmpty ? null : workspace.Take(4L * tensors.Length);
        for (int first = 0; first < tensors.Length; first += AdamKernels.Tensors)
        {
            var arguments = new AdamArguments { Count = Math.Min(tensors.Length - first, AdamKernels.Tensors) };
            int blocks = 0;
            for (int i = 0; i < arguments.Count; i++)
            {
                AdamTensors t = tensors[first + i];
                // One for an empty tensor too: its change is zero and has to be written.
                int own = Math.Max(1, Blocks(t.W.Count, Elements));
                arguments.Tensors[i] = Adam(t.W, t.G, t.M, t.V, settings[first + i]) with { FirstBlock = blocks, Blocks = own };
                blocks += own;
            }

            if (sums is not null)
            {
                arguments.Parts = (double*)workspace.Take(4L * blocks).Pointer;
                arguments.Changes = (double*)sums.Pointer + (2 * first);
            }

            Launch(AdamKernels.Commit, blocks, AdamKernels.Threads, 0, arguments);
            if (sums is not null)
                Launch(AdamKernels.Changes, arguments.Count, AdamKernels.Threads, 0, arguments);
        }

        if (sums is null)
            return;
        double[] read = new double[2 * tensors.Length];
        Download(sums, MemoryMarshal.Cast<double, float>(read.AsSpan()));
        for (int i = 0; i < tensors.Length; i++)
            changes[i] = new CommitChange(read[2 * i], read[(2 * i) + 1]);
    }

    private static AdamTensor Adam(Tensor w, Tensor? g, Tensor m, Tensor v, in AdamSettings settings) =>
        new() { W = Pointer(w), G = Pointer(g), M = Pointer(m), V = Pointer(v), Count = w.Count, Constants = Constants(settings) };
}
