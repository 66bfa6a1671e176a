using ILGPU;
using ILGPU.Algorithms;

namespace NestedLearning.Gpu.Kernels;

/// <summary>A commit of <see cref="MomentSettings"/>; a view of no elements stands for a tensor that is not given.</summary>
internal struct MomentTensor : IShared
{
    public ArrayView<float> W, G, M, V, Start;
    public float LearningRate, GradientScale, Keep1, Write1, Keep2, Write2, ReadMoment, ReadGradient, Decay, Epsilon;
    public int Clear;

    public Share Share { get; set; }
}

/// <summary>A commit of each of some tensors.</summary>
internal struct MomentCommitArguments
{
    public Batch<MomentTensor> Batch;
}

// g' ← scale g;  m ← keep1 m + write1 g';  v ← keep2 v + write2 g'²;  r ← read m + read g'
// w ← start − (decay start + η r / (√v + ε))
internal static class MomentKernels
{
    public static void Commit(MomentCommitArguments a)
    {
        ArrayView<double> shared = SharedMemory.Allocate<double>(Groups.Threads);
        for (int group = Grid.IdxX; group < a.Batch.Groups; group += Grid.DimX)
        {
            MomentTensor tensor = a.Batch.Of(group);
            Share share = tensor.Share;
            double change = 0, value = 0;
            for (long i = share.FirstItem(group); i < tensor.G.Length; i += share.Stride)
            {
                float gradient = Functions.Flush(Functions.Flush(tensor.G[i]) * tensor.GradientScale),
                    read = gradient * tensor.ReadGradient;
                if (tensor.Clear != 0)
                    tensor.G[i] = 0;
                if (tensor.M.Length != 0)
                {
                    float first = Functions.Flush(Functions.Flush(tensor.M[i]) * tensor.Keep1 + gradient * tensor.Write1);
                    tensor.M[i] = first;
                    read = first * tensor.ReadMoment + read;
                }

                float step = read * tensor.LearningRate;
                if (tensor.V.Length != 0)
                {
                    float second = Functions.Flush(Functions.Flush(tensor.V[i]) * tensor.Keep2 + gradient * gradient * tensor.Write2);
                    tensor.V[i] = second;
                    step /= XMath.Sqrt(second) + tensor.Epsilon;
                }

                if (tensor.W.Length != 0)
                {
                    float before = tensor.W[i], from = Functions.Flush(tensor.Start.Length != 0 ? tensor.Start[i] : before);
                    float after = Functions.Flush(from - (from * tensor.Decay + step));
                    tensor.W[i] = after;
                    change += ((double)after - before) * ((double)after - before);
                    value += (double)before * before;
                }
            }

            a.Batch.Keep(share, group, shared, change, value);
        }
    }
}
