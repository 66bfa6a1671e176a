namespace NestedLearning.Models.Continual;

/// <summary>One trial of a search: a value and how it did, the less the better.</summary>
public readonly record struct Trial(double Value, double Score);

/// <summary>What a search found.</summary>
/// <param name="Best">The value of the least score.</param>
/// <param name="Trials">All trials in their order.</param>
/// <param name="AtEdge">Whether the budget ended before a larger and a smaller value than the best had been tried.</param>
public sealed record SearchResult(double Best, IReadOnlyList<Trial> Trials, bool AtEdge);

/// <summary>
/// Looks for the best of one positive number on a logarithmic grid, with a given number of trials: from the middle outwards as long as
/// the best is at an edge, then between the best and its neighbours. So the best is at an edge only if the trials ran out.
/// </summary>
public static class ValueSearch
{
    /// <summary>Searches.</summary>
    /// <param name="middle">Where it begins, above 0.</param>
    /// <param name="factor">From one value of the grid to the next, above 1.</param>
    /// <param name="trials">The number of trials, at least 3.</param>
    /// <param name="score">How a value does: the less the better; infinite or NaN where it failed.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is out of its range.</exception>
    public static SearchResult Run(double middle, double factor, int trials, Func<double, double> score)
    {
        ArgumentNullException.ThrowIfNull(score);
        if (!(middle > 0 && double.IsFinite(middle)))
            throw new ArgumentOutOfRangeException(nameof(middle), middle, $"middle is {middle}, expected a finite number above 0.");
        if (!(factor > 1 && double.IsFinite(factor)))
            throw new ArgumentOutOfRangeException(nameof(factor), factor, $"factor is {factor}, expected a finite number above 1.");
        if (trials < 3)
            throw new ArgumentOutOfRangeException(nameof(trials), trials, $"trials is {trials}, expected at least 3.");
        // Places on the grid, in factors from the middle.
        var places = new SortedList<double, double>();
        var all = new List<Trial>();
        double best = 0;
        Try(0);
        Try(-1);
        Try(1);
        while (all.Count < trials)
        {
            int index = places.IndexOfKey(best);
            double below = index == 0 ? best - 2 : places.Keys[index - 1];
            double above = index == places.Count - 1 ? best + 2 : places.Keys[index + 1];
            // The wider gap first; beyond an edge it is the widest.
            Try(above - best >= best - below ? Between(best, above) : Between(best, below));
        }

        return new SearchResult(Value(best), all, best == places.Keys[0] || best == places.Keys[^1]);

        double Between(double from, double to) => (from + to) / 2;

        double Value(double place) => middle * Math.Pow(factor, place);

        void Try(double place)
        {
            double result = score(Value(place));
            result = double.IsNaN(result) ? double.PositiveInfinity : result;
            places.Add(place, result);
            all.Add(new Trial(Value(place), result));
            if (result < places[best])
                best = place;
        }
    }
}
