using System.Text;

namespace NestedLearning.CommandLine;

/// <summary>Passes text on without the spaces at line ends, which pad the last column of a table.</summary>
internal sealed class LineEndTrimmer(TextWriter inner) : TextWriter
{
    private int _spaces;

    public override Encoding Encoding => inner.Encoding;

    public override void Write(char value)
    {
        if (value == ' ')
        {
            _spaces++;
            return;
        }

        if (value is not ('\r' or '\n'))
        {
            for (int i = 0; i < _spaces; i++)
                inner.Write(' ');
        }

        _spaces = 0;
        inner.Write(value);
    }

    public override void Flush() => inner.Flush();
}
