using System.Numerics;

namespace NestedLearning.Operations;

/// <summary>
/// The steps of a memory S and of their gradients, a token at a time, over some columns of it: Dk rows of
/// <see cref="Columns{T}.Count"/> elements, contiguous. docs/specification.md, section 1.
/// </summary>
internal static unsafe class ScanMemory<T>
    where T : unmanaged, IFloatingPointIeee754<T>
{
    /// <summary>x S.</summary>
    public static Columns<T> Answer(T* s, int rows, T* x)
    {
        Columns<T> answer = default;
        for (int i = 0; i < rows; i++, s += Columns<T>.Count)
            answer = answer.Plus(x[i], Columns<T>.Load(s));
        return answer;
    }

    /// <summary>
    /// Next P = μ P + kᵀ w and next S = α S + next P, and in the same pass what the next S answers: x S and y S, where these
    /// are not null. Without momentum P is null.
    /// </summary>
    public static void Write(
        T* s, T* p, T* nextS, T* nextP, int rows, T* k, in Columns<T> w, T alpha, T mu, T* x, T* y,
        out Columns<T> xAnswer, out Columns<T> yAnswer)
    {
        Columns<T> write = w, ofX = default, ofY = default;
        for (int i = 0; i < rows; i++, s += Columns<T>.Count, nextS += Columns<T>.Count)
        {
            Columns<T> row = alpha * Columns<T>.Load(s);
            if (p == null)
            {
                row = row.Plus(k[i], write);
            }
            else
            {
                Columns<T> momentum = (mu * Columns<T>.Load(p)).Plus(k[i], write);
                momentum.Store(nextP);
                row += momentum;
                p += Columns<T>.Count;
                nextP += Columns<T>.Count;
            }

            row.Store(nextS);
            if (x != null)
                ofX = ofX.Plus(x[i], row);
            if (y != null)
                ofY = ofY.Plus(y[i], row);
        }

        xAnswer = ofX;
        yAnswer = ofY;
    }

    /// <summary>Back through y = x S: dS += xᵀ dy, dx += dy Sᵀ.</summary>
    public static void AnswerBackward(T* s, T* ds, int rows, T* x, in Columns<T> dy, T* dx)
    {
        Columns<T> d = dy;
        for (int i = 0; i < rows; i++, s += Columns<T>.Count, ds += Columns<T>.Count)
        {
            dx[i] += Columns<T>.Dot(d, Columns<T>.Load(s));
            Columns<T>.Load(ds).Plus(x[i], d).Store(ds);
        }
    }

    /// <summary>
    /// Back through a write from S and P: with dP the gradient to the next P that came through μ, and dS that to the next S,
    /// dP += dS, dw = k dP, dk += w dPᵀ, dα = ⟨dS, S⟩, dμ = ⟨dP, P⟩; then dS ← α dS, dP ← μ dP. Without momentum P and dP
    /// are null; α's gradient is wanted or 0.
    /// </summary>
    public static Columns<T> WriteBackward(
        T* s, T* p, T* ds, T* dp, int rows, T* k, in Columns<T> w, T alpha, T mu, bool wantsAlpha, T* dk, out T dAlpha, out T dMu)
    {
        Columns<T> write = w, dw = default, ofAlpha = default, ofMu = default;
        for (int i = 0; i < rows; i++, s += Columns<T>.Count, ds += Columns<T>.Count)
        {
            Columns<T> d = Columns<T>.Load(ds);
            if (wantsAlpha)
            {
                ofAlpha = ofAlpha.Plus(d, Columns<T>.Load(s));
                (alpha * d).Store(ds);
            }

            if (p != null)
            {
                d += Columns<T>.Load(dp);
                ofMu = ofMu.Plus(d, Columns<T>.Load(p));
                (mu * d).Store(dp);
                p += Columns<T>.Count;
                dp += Columns<T>.Count;
            }

            dw = dw.Plus(k[i], d);
            dk[i] += Columns<T>.Dot(write, d);
        }

        dAlpha = ofAlpha.Sum;
        dMu = ofMu.Sum;
        return dw;
    }
}
