using System.Runtime.InteropServices;
using ILGPU;
using NestedLearning.Gpu.Kernels;

namespace NestedLearning.Gpu;

internal partial class IlgpuBackend
{
    // Groups of a sum over so many elements: by the shape alone on a device, each with enough of them to be worth it.
    private int GroupsOf(int count) => (int)Math.Min(Math.Min(_maximalGroups, 1024), ((long)count + _threads * 16 - 1) / (_threads * 16));

    /// <summary>
    /// A commit of many tensors in as few launches as hold them, and one more where their changes are wanted. A tensor has
    /// the same groups among others as alone, and so the same bits.
    /// </summary>
    private sealed class Commit<T>(IlgpuBackend backend, int groups, int measured, Action<Batch<T>> launch) : IDisposable
        where T : struct, IShared
    {
        private readonly Tally? _tally = measured == 0 || groups == 0 ? null : new Tally(backend, groups, measured, 2);
        private readonly List<int> _tensors = [];
        private Batch<T> _batch;
        private int _count;

        /// <summary>Takes a tensor of so many groups; none for one without elements.</summary>
        public void Add(int index, T tensor, int groups)
        {
            if (groups == 0)
                return;
            tensor.Share = new Share { Tensor = _tensors.Count, First = _batch.Groups, Groups = groups };
            _tensors.Add(index);
            _batch.Put(_count++, tensor);
            _batch.Groups += groups;
            if (_count == Batch<T>.Capacity)
                Launch();
        }

        public void Finish(Span<CommitChange> changes)
        {
            Launch();
            changes.Clear();
            if (_tally is null)
                return;
            double[] sums = _tally.Read(_tensors.Count);
            for (int i = 0; i < _tensors.Count; i++)
                changes[_tensors[i]] = new CommitChange(sums[2 * i], sums[2 * i + 1]);
        }

        public void Dispose() => _tally?.Dispose();

        private void Launch()
        {
            if (_count == 0)
                return;
            for (int i = _count; i < Batch<T>.Capacity; i++)
                _batch.Put(i, new T { Share = new Share { First = int.MaxValue } });
            if (_tally is not null)
            {
                _batch.Parts = _tally.Parts;
                _batch.Ranges = _tally.Ranges;
            }

            launch(_batch);
            _batch = new Batch<T> { GroupsBefore = _batch.GroupsBefore + _batch.Groups };
            _count = 0;
        }
    }

    /// <summary>Sums in double that launches leave in parts and the host reads once: width numbers for each of so many results.</summary>
    private sealed class Tally : IDisposable
    {
        private readonly Workspace _workspace;
        private readonly IlgpuBackend _backend;
        private readonly DeviceStorage _parts, _ranges, _result;
        private readonly int _width;

        public Tally(IlgpuBackend backend, int parts, int results, int width)
        {
            _backend = backend;
            _width = width;
            _workspace = new Workspace(backend);
            _parts = _workspace.Take(2L * parts * width);
            _ranges = _workspace.Take(2L * results);
            _result = _workspace.Take(2L * results * width);
        }

        /// <summary>Where groups leave their sums.</summary>
        public ArrayView<double> Parts => _parts.View.Cast<double>();

        /// <summary>Where they say which of the parts belong to a result: the first, and how many.</summary>
        public ArrayView<int> Ranges => _ranges.View.Cast<int>();

        /// <summary>The first so many results.</summary>
        public double[] Read(int results)
        {
            double[] sums = new double[results * _width];
            _backend.Launch(SumKernels.Parts, results, new SumArguments
            {
                Parts = Parts, Ranges = Ranges, Result = _result.View.Cast<double>(), Count = results, Width = _width,
            });
            _backend.Download(_result, MemoryMarshal.Cast<double, float>(sums.AsSpan()));
            return sums;
        }

        public void Dispose() => _workspace.Dispose();
    }
}
