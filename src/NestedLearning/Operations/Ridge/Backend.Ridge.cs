namespace NestedLearning;

public abstract partial class Backend
{
    /// <summary>
    /// The recursive ridge memory of x [T, D] and y [T, V], one sample after the other; see <see cref="Operations.Ridge.Learn"/>. All of x
    /// and y is finite. o [T, V] = the answers before each was learned, or null; factor, w [D, V] and wLow [D, V] are the state
    /// (<see cref="Operations.RidgeState"/>), in and out.
    /// </summary>
    /// <exception cref="NotFiniteNumberException">Numbers grow beyond float64. The message says how many samples were learned.</exception>
    public abstract void Ridge(Tensor x, Tensor y, Tensor factor, Tensor w, Tensor wLow, double forget, Tensor? o);
}
