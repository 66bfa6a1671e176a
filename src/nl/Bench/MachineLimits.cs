using System.Diagnostics;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace NestedLearning.CommandLine.Bench;

/// <summary>What this machine can do at most, measured with as many threads as the cases use.</summary>
/// <param name="Gflops">float32 multiply-adds from registers, in 10⁹ operations a second; infinite of a device, where it is not
/// measured.</param>
/// <param name="GigabytesPerSecond">
/// Memory traffic over seven streams, four read and three written, as AdamW has them; of a device that of a copy, read and written.
/// </param>
internal sealed record MachineLimits(double Gflops, double GigabytesPerSecond)
{
    private const int Rounds = 50;

    // Sums at once in multiply-add: enough to hide the latency of two units, few enough for sixteen registers.
    private const int Chains = 12;

    /// <summary>The least time that a case can take, in milliseconds.</summary>
    public double Floor(BenchCase measured) => Math.Max(measured.Flops / Gflops, measured.Bytes / GigabytesPerSecond) * 1e-6;

    public static MachineLimits Measure(Device device) =>
        device.Backend.RunsOnHost
            ? new(MeasureFlops(device.Backend.Work) * 1e-9, MeasureBandwidth(device) * 1e-9)
            : new(double.PositiveInfinity, MeasureCopy(device) * 1e-9);

    /// <summary>The limits in words.</summary>
    public override string ToString() => double.IsInfinity(Gflops)
        ? FormattableString.Invariant($"{GigabytesPerSecond:F1} GB/s (a copy)")
        : FormattableString.Invariant($"{Gflops:F0} GFLOP/s (float32), {GigabytesPerSecond:F1} GB/s (seven streams)");

    /// <summary>The higher of two measurements, each for itself.</summary>
    public static MachineLimits Best(MachineLimits x, MachineLimits y) =>
        new(Math.Max(x.Gflops, y.Gflops), Math.Max(x.GigabytesPerSecond, y.GigabytesPerSecond));

    private static double MeasureFlops(WorkPool work) =>
        Avx512F.IsSupported ? MeasureFlops<Vector512<float>, Wide>(work, Vector512<float>.Count)
        : Vector256.IsHardwareAccelerated ? MeasureFlops<Vector256<float>, Medium>(work, Vector256<float>.Count)
        : MeasureFlops<Vector128<float>, Narrow>(work, Vector128<float>.Count);

    private static double MeasureFlops<TVector, TOperations>(WorkPool work, int lanes)
        where TVector : struct
        where TOperations : IOperations<TVector>
    {
        const int Steps = 1 << 19;
        var sums = new TVector[work.Threads];
        return 2.0 * Chains * lanes * Steps * sums.Length / BestSeconds(() =>
            work.For(sums.Length, long.MaxValue, piece => sums[piece] = MultiplyAdd<TVector, TOperations>(Steps)));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static TVector MultiplyAdd<TVector, TOperations>(int steps)
        where TOperations : IOperations<TVector>
    {
        TVector x = TOperations.All(0.5f), y = TOperations.All(1);
        TVector a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x, k = x, l = x;
        for (int step = 0; step < steps; step++)
        {
            a = TOperations.MultiplyAdd(a, x, y);
            b = TOperations.MultiplyAdd(b, x, y);
            c = TOperations.MultiplyAdd(c, x, y);
            d = TOperations.MultiplyAdd(d, x, y);
            e = TOperations.MultiplyAdd(e, x, y);
            f = TOperations.MultiplyAdd(f, x, y);
            g = TOperations.MultiplyAdd(g, x, y);
            h = TOperations.MultiplyAdd(h, x, y);
            i = TOperations.MultiplyAdd(i, x, y);
            j = TOperations.MultiplyAdd(j, x, y);
            k = TOperations.MultiplyAdd(k, x, y);
            l = TOperations.MultiplyAdd(l, x, y);
        }

        a = TOperations.MultiplyAdd(TOperations.MultiplyAdd(a, b, c), TOperations.MultiplyAdd(d, e, f), g);
        return TOperations.MultiplyAdd(TOperations.MultiplyAdd(a, h, i), TOperations.MultiplyAdd(j, k, l), a);
    }

    private static double MeasureBandwidth(Device device)
    {
        // Far more than any cache holds.
        const int Length = 1 << 24, Pieces = 256, PieceLength = Length / Pieces;
        using Tensor w = device.Zeros([Length]), g = device.Zeros([Length]), m = device.Zeros([Length]), v = device.Zeros([Length]);
        return 7.0 * Length * sizeof(float) / BestSeconds(() => device.Backend.Work.For(Pieces, Length, piece =>
            Stream(Part(w, piece), Part(g, piece), Part(m, piece), Part(v, piece))));

        static Span<Vector<float>> Part(Tensor tensor, int piece) =>
            MemoryMarshal.Cast<float, Vector<float>>(tensor.Span.Slice(piece * PieceLength, PieceLength));
    }

    private static double MeasureCopy(Device device)
    {
        // More than any cache holds.
        const int Length = 1 << 26;
        using Tensor from = device.Zeros([Length]), to = device.Zeros([Length]);
        return 2e3 * Length * sizeof(float) / BenchTimer.Median(() => to.CopyFrom(from), TimeSpan.FromSeconds(1), BenchTimer.WaitFor(to));
    }

    // Asks for what is 1 KiB ahead: hardware prefetchers alone do not reach the memory's rate with so many streams.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static unsafe void Stream(Span<Vector<float>> w, ReadOnlySpan<Vector<float>> g, Span<Vector<float>> m, Span<Vector<float>> v)
    {
        const int Ahead = 1024;
        for (int i = 0; i < w.Length; i++)
        {
            if (Sse.IsSupported)
            {
                Sse.Prefetch0((byte*)Unsafe.AsPointer(ref w[i]) + Ahead);
                Sse.Prefetch0((byte*)Unsafe.AsPointer(ref Unsafe.AsRef(in g[i])) + Ahead);
                Sse.Prefetch0((byte*)Unsafe.AsPointer(ref m[i]) + Ahead);
                Sse.Prefetch0((byte*)Unsafe.AsPointer(ref v[i]) + Ahead);
            }

            m[i] += g[i];
            v[i] += g[i];
            w[i] += m[i];
        }
    }

    // The best of many: what else ran on the machine is no limit of it.
    private static double BestSeconds(Action run)
    {
        double best = double.PositiveInfinity;
        for (int round = 0; round < Rounds; round++)
        {
            long start = Stopwatch.GetTimestamp();
            run();
            best = Math.Min(best, Stopwatch.GetElapsedTime(start).TotalSeconds);
        }

        return best;
    }

    // What MultiplyAdd needs of a width of vectors.
    private interface IOperations<TVector>
    {
        static abstract TVector All(float value);

        static abstract TVector MultiplyAdd(TVector x, TVector y, TVector z);
    }

    private readonly struct Wide : IOperations<Vector512<float>>
    {
        public static Vector512<float> All(float value) => Vector512.Create(value);

        public static Vector512<float> MultiplyAdd(Vector512<float> x, Vector512<float> y, Vector512<float> z) =>
            Vector512.FusedMultiplyAdd(x, y, z);
    }

    private readonly struct Medium : IOperations<Vector256<float>>
    {
        public static Vector256<float> All(float value) => Vector256.Create(value);

        public static Vector256<float> MultiplyAdd(Vector256<float> x, Vector256<float> y, Vector256<float> z) =>
            Vector256.FusedMultiplyAdd(x, y, z);
    }

    private readonly struct Narrow : IOperations<Vector128<float>>
    {
        public static Vector128<float> All(float value) => Vector128.Create(value);

        public static Vector128<float> MultiplyAdd(Vector128<float> x, Vector128<float> y, Vector128<float> z) =>
            Vector128.FusedMultiplyAdd(x, y, z);
    }
}
