using System.Text;
using TraceFed.Safety;
using Xunit;

namespace TraceFed.Tests.Safety.Classifiers;

public class LoneWordTests
{
    [Theory] // tool names, list items and titles are texts of a word or two
    [InlineData("hello"), InlineData("library"), InlineData("weather"), InlineData("get_weather"), InlineData("Paris"), InlineData("fine"), InlineData("thank you")]
    public void Judge_HarmlessWordAlone_IsNotFlagged(string word)
    {
        var inspection = new TextInspection();
        inspection.Reset(PolicySnapshot.Compile(new SafetyOptions()), Stage.Output, seed: 1);
        inspection.Begin(TextRole.Assistant);
        inspection.Append(Encoding.UTF8.GetBytes(word));
        inspection.Complete();
        Assert.True(inspection.Findings.IsEmpty);
    }
}
