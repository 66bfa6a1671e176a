using ILGPU;

namespace NestedLearning.Gpu.Kernels;

/// <summary>What groups of a launch a tensor of a <see cref="Batch{T}"/> has.</summary>
internal struct Share
{
    /// <summary>The tensor's place among all of the commit.</summary>
    public int Tensor;

    /// <summary>Its groups, from the batch's first on.</summary>
    public int First, Groups;

    /// <summary>
    /// The first element of this thread when its group is one of them, for loops over elements in steps of <see cref="Stride"/>.
    /// </summary>
    public readonly long FirstItem(int group) => (long)(group - First) * Group.DimX + Group.IdxX;

    public readonly long Stride => (long)Groups * Group.DimX;
}

/// <summary>A tensor with its constants, as an element of a <see cref="Batch{T}"/>.</summary>
internal interface IShared
{
    Share Share { get; set; }
}

/// <summary>
/// Tensors of one launch, with all that a commit of each needs: views can be nothing but a kernel's arguments, so there are
/// as many as take some 2 KB of them. CUDA allows 4 KB; OpenCL promises 1 KB, and this is no more than the scan's kernels take.
/// </summary>
internal struct Batch<T>
    where T : struct, IShared
{
    /// <summary>The most tensors.</summary>
    public const int Capacity = 12;

    public T T0, T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11;

    /// <summary>Groups of all tensors, and of the batches before this one.</summary>
    public int Groups, GroupsBefore;

    /// <summary>Two sums for each group of all batches, of squares of the changes and of the old values; no elements: not wanted.</summary>
    public ArrayView<double> Parts;

    /// <summary>Where the sums of each tensor of the commit are among them: the first, and how many.</summary>
    public ArrayView<int> Ranges;

    /// <summary>The tensor that a group works on. Those that are not there begin behind the last group.</summary>
    public readonly T Of(int group)
    {
        if (group < T6.Share.First)
        {
            if (group < T3.Share.First)
                return group < T1.Share.First ? T0 : group < T2.Share.First ? T1 : T2;
            return group < T4.Share.First ? T3 : group < T5.Share.First ? T4 : T5;
        }

        if (group < T9.Share.First)
            return group < T7.Share.First ? T6 : group < T8.Share.First ? T7 : T8;
        return group < T10.Share.First ? T9 : group < T11.Share.First ? T10 : T11;
    }

    /// <summary>Sums that a group made of its share of a tensor; all threads of the group come here together.</summary>
    public readonly void Keep(Share share, int group, ArrayView<double> shared, double change, double value)
    {
        change = Kernels.Groups.Sum(shared, change);
        value = Kernels.Groups.Sum(shared, value);
        if (Group.IdxX != 0 || Parts.Length == 0)
            return;
        Parts[2 * (GroupsBefore + group)] = change;
        Parts[2 * (GroupsBefore + group) + 1] = value;
        if (group == share.First)
        {
            Ranges[2 * share.Tensor] = GroupsBefore + group;
            Ranges[2 * share.Tensor + 1] = share.Groups;
        }
    }

    /// <summary>Puts a tensor at a place, on the host.</summary>
    public void Put(int place, T tensor)
    {
        switch (place)
        {
            case 0: T0 = tensor; break;
            case 1: T1 = tensor; break;
            case 2: T2 = tensor; break;
            case 3: T3 = tensor; break;
            case 4: T4 = tensor; break;
            case 5: T5 = tensor; break;
            case 6: T6 = tensor; break;
            case 7: T7 = tensor; break;
            case 8: T8 = tensor; break;
            case 9: T9 = tensor; break;
            case 10: T10 = tensor; break;
            case 11: T11 = tensor; break;
            default: throw new ArgumentOutOfRangeException(nameof(place), place, $"The place is {place}, expected 0 to {Capacity - 1}.");
        }
    }
}
