namespace TraceFed.Aggregator.Regions;

/// <summary>When a region is alarmed and when it calms down.</summary>
/// <param name="RaiseAt">Score from which a pane speaks for an alert.</param>
/// <param name="ClearAt">Score below which a pane speaks against it; lower than <paramref name="RaiseAt"/>.</param>
/// <param name="RaisePanes">Panes in a row that raise it.</param>
/// <param name="ClearPanes">Panes in a row that clear it.</param>
public sealed record AlertRule(double RaiseAt = 4, double ClearAt = 2, int RaisePanes = 2, int ClearPanes = 5);

/// <summary>Whether there is an alert, and how many panes in a row speak for changing that.</summary>
public readonly record struct AlertState(bool Raised, int Streak);

/// <summary>Regional alerts with hysteresis: up after a few panes, down after more of them, and nothing between the two scores. Pure.</summary>
public static class RegionAlert
{
    /// <param name="rule">Bounds.</param>
    /// <param name="state">As it was.</param>
    /// <param name="score">Of a released pane; not a number speaks for an alert.</param>
    public static AlertState Step(AlertRule rule, AlertState state, double score)
    {
        ArgumentNullException.ThrowIfNull(rule);
        var speaks = state.Raised ? score < rule.ClearAt : !(score < rule.RaiseAt);
        if (!speaks)
            return state with { Streak = 0 };
        var streak = state.Streak + 1;
        return streak >= (state.Raised ? rule.ClearPanes : rule.RaisePanes) ? new(!state.Raised, 0) : state with { Streak = streak };
    }
}
