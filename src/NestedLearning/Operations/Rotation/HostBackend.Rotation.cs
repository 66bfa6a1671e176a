using System.Numerics;

namespace NestedLearning;

public abstract unsafe partial class HostBackend
{
    // Elements of one piece: 64 KiB of each operand.
    private const int RotationPiece = 1 << 14;

    /// <inheritdoc/>
    public override void Rotate(Tensor x, Tensor table, bool back, Tensor y)
    {
        ArgumentNullException.ThrowIfNull(x);
        ArgumentNullException.ThrowIfNull(table);
        ArgumentNullException.ThrowIfNull(y);
        int time = x.Shape[1], heads = x.Shape[2], width = x.Shape[3], tokens = x.Shape[0] * time;
        int together = Math.Max(1, RotationPiece / Math.Max(1, heads * width));
        Work.For(
            Pieces(tokens, together), x.Count,
            new Rotation
            {
                X = x.Pointer,
                Y = y.Pointer,
                Table = table.Pointer,
                Back = back,
                Tokens = tokens,
                Time = time,
                Heads = heads,
                Width = width,
                Together = together,
            });
    }

    private struct Rotation : IPieceAction
    {
        public float* X, Y, Table;
        public bool Back;
        public int Tokens, Time, Heads, Width, Together;

        public readonly void Invoke(int piece)
        {
            int half = Width / 2;
            for (int token = piece * Together; token < Math.Min(Tokens, (piece + 1) * Together); token++)
            {
                float* cos = Table + (nint)(token % Time) * 2 * half;
                for (int head = 0; head < Heads; head++)
                {
                    nint first = ((nint)token * Heads + head) * Width;
                    Turn(X + first, Y + first, cos, cos + half, half);
                    if (2 * half < Width)
                        Y[first + Width - 1] = X[first + Width - 1];
                }
            }
        }

        // Products are rounded before they are added, in vectors and one by one: the bits do not depend on the vector's length.
        private readonly void Turn(float* x, float* y, float* cos, float* sin, int half)
        {
            int i = 0;
            for (; i <= half - Vector<float>.Count; i += Vector<float>.Count)
            {
                Vector<float> a = Vector.Load(x + i), b = Vector.Load(x + half + i);
                Vector<float> c = Vector.Load(cos + i), s = Vector.Load(sin + i);
                if (Back)
                    s = -s;
                Subnormals.Flush(a * c - b * s).Store(y + i);
                Subnormals.Flush(b * c + a * s).Store(y + half + i);
            }

            for (; i < half; i++)
            {
                float a = x[i], b = x[half + i], c = cos[i], s = Back ? -sin[i] : sin[i];
                y[i] = Subnormals.Flush(a * c - b * s);
                y[half + i] = Subnormals.Flush(b * c + a * s);
            }
        }
    }
}
