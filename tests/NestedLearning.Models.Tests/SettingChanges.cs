using System.Collections;
using System.Reflection;

namespace NestedLearning.Models.Tests;

/// <summary>Every setting of a configuration, found by reflection, so that none can be forgotten.</summary>
internal static class SettingChanges
{
    /// <summary>The configuration with one setting changed, for each, with the setting's path.</summary>
    /// <param name="configuration">A record of settings, which may be records and lists of such.</param>
    /// <param name="fits">Whether a change can be tried at all; for each setting there has to be one that can.</param>
    public static IEnumerable<(string Name, T Changed)> Of<T>(T configuration, Func<T, bool> fits)
        where T : class
    {
        foreach (IGrouping<string, (string Name, object? Value)> setting in Changes(typeof(T), configuration, "").GroupBy(c => c.Name))
        {
            yield return (setting.Key, setting.Select(c => (T)c.Value!).FirstOrDefault(fits)
                ?? throw new InvalidOperationException($"No change of {setting.Key} was found that could be tried."));
        }
    }

    private static IEnumerable<(string Name, object? Value)> Changes(Type type, object? value, string path)
    {
        Type plain = Nullable.GetUnderlyingType(type) ?? type;
        if (value is null)
            return [(path, Some(plain))];
        if (value is Optimizer)
            return [(path, new AdaGrad())];
        if (Others(plain, value) is { } others)
            return others.Select(o => (path, (object?)o));
        if (value is IList list)
            return ChangesOfList(list, path);
        return from property in plain.GetProperties(BindingFlags.Instance | BindingFlags.Public)
               where property.CanWrite
               from change in Changes(property.PropertyType, property.GetValue(value), path.Length == 0 ? property.Name
                   : $"{path}.{property.Name}")
               select (change.Name, (object?)With(value, property, change.Value));
    }

    private static IEnumerable<(string Name, object? Value)> ChangesOfList(IList list, string path)
    {
        Type element = list[0]!.GetType();
        for (int i = 0; i < list.Count; i++)
        {
            foreach ((string name, object? changed) in Changes(element, list[i], $"{path}[{i}]"))
                yield return (name, Array(list.Cast<object?>().Select((e, at) => at == i ? changed : e)));
        }

        yield return (path + ".Count", Array(list.Cast<object?>().Skip(1)));

        object Array(IEnumerable<object?> elements)
        {
            object?[] all = [.. elements];
            var array = System.Array.CreateInstance(element, all.Length);
            System.Array.Copy(all, array, all.Length);
            return array;
        }
    }

    private static object Some(Type type)
    {
        if (type == typeof(Optimizer))
            return new AdaGrad();
        if (type == typeof(int))
            return 8;
        if (type == typeof(double))
            return 0.25;
        if (type.IsEnum)
            return Enum.GetValues(type).GetValue(0)!;
        return type == typeof(MemoryOptions) ? new MemoryOptions()
            : throw new InvalidOperationException($"Of {type.Name} nothing is known that would be another than null.");
    }

    // Several, as not every one fits the other settings.
    private static IEnumerable<object>? Others(Type type, object value) => value switch
    {
        bool b => [!b],
        int n => [n + 1, 2 * n, n / 2, n - 1, 0],
        ulong n => [n + 1],
        float x => [x == 0 ? 0.25f : x / 2],
        double x => [x == 0 || !double.IsFinite(x) ? 0.25 : x / 2],
        string text => [text + " other"],
        Enum => Enum.GetValues(type).Cast<object>().Where(v => !v.Equals(value)),
        _ => null,
    };

    private static object With(object record, PropertyInfo property, object? value)
    {
        object copy = record.GetType().GetMethod("<Clone>$")!.Invoke(record, null)!;
        property.SetValue(copy, value);
        return copy;
    }
}
