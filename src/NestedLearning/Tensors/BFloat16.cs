namespace NestedLearning;

/// <summary>
/// bfloat16 numbers (the upper half of a float32) in tensors of 32-bit elements: number 2i is the lower half of the
/// bits of element i, number 2i + 1 the upper one.
/// </summary>
public static class BFloat16
{
    /// <summary>The elements of a tensor that holds so many numbers.</summary>
    public static int PackedCount(int count) => (int)(((long)count + 1) / 2);

    /// <summary>The first <paramref name="count"/> numbers of a packed tensor.</summary>
    /// <exception cref="ArgumentException">The tensor does not hold as many.</exception>
    public static float[] Unpack(Tensor packed, int count)
    {
        ArgumentNullException.ThrowIfNull(packed);
        if (count < 0 || PackedCount(count) > packed.Count)
            throw new ArgumentException($"A packed tensor {packed.Shape} holds up to {2L * packed.Count} numbers, expected {count}.",
                nameof(packed));
        float[] elements = packed.ToArray(), numbers = new float[count];
        for (int i = 0; i < count; i++)
        {
            uint bits = BitConverter.SingleToUInt32Bits(elements[i / 2]);
            numbers[i] = BitConverter.UInt32BitsToSingle(i % 2 == 0 ? bits << 16 : bits & 0xFFFF0000);
        }

        return numbers;
    }
}
