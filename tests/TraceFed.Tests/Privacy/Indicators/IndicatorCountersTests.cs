using TraceFed.Privacy.Indicators;
using TraceFed.Tests.Privacy.DifferentialPrivacy;
using Xunit;

namespace TraceFed.Tests.Privacy.Indicators;

public class IndicatorCountersTests
{
    [Theory]
    [InlineData(0)]
    [InlineData(1)] // every thread but one finds its stripe held, and goes the shared way
    public void No_count_is_lost_or_doubled_while_panes_close(int stripes)
    {
        // So many cells that none reaches the clip, however long a pane lasts.
        // The threads count up to two thirds of their events, then wait until a few panes were closed under them:
        // on a busy machine they would else be done before the first.
        const int Threads = 4, PerThread = 200_000, Cells = 512, Panes = 3;
        using var closed = new CountdownEvent(Panes);
        var counters = new IndicatorCounters(TestSchemas.Flat(Cells, contribution: 3), PrivacyUnit.Event, stripes: stripes);
        using var start = new Barrier(Threads + 1);
        var threads = Enumerable.Range(0, Threads).Select(t => new Thread(() =>
        {
            start.SignalAndWait(TestContext.Current.CancellationToken);
            Span<int> cells = stackalloc int[3];
            for (var i = 0; i < PerThread; i++)
            {
                if (i == PerThread * 2 / 3)
                    closed.Wait(TestContext.Current.CancellationToken);
                (cells[0], cells[1], cells[2]) = (i % Cells, (i + t) % Cells, (i * 7) % Cells);
                counters.Add(cells, 0);
            }
        })).ToArray();
        foreach (var thread in threads)
            thread.Start();
        var expected = new long[Cells];
        for (var t = 0; t < Threads; t++)
        {
            for (var i = 0; i < PerThread; i++)
            {
                expected[i % Cells]++;
                expected[(i + t) % Cells]++;
                expected[i * 7 % Cells]++;
            }
        }
        var total = new long[Cells];
        var panes = 0;
        var pane = new uint[Cells];
        start.SignalAndWait(TestContext.Current.CancellationToken);
        while (threads.Any(t => t.IsAlive))
            Take();
        Take();
        Assert.Equal(expected, total);
        Assert.True(panes > Panes);
        Assert.Equal(0, counters.NotCounted);

        void Take()
        {
            counters.Close(pane);
            panes++;
            if (!closed.IsSet)
                closed.Signal();
            for (var i = 0; i < Cells; i++)
                total[i] += pane[i];
        }
    }

    [Fact]
    public void The_shared_way_counts_into_the_pane_that_is_open()
    {
        var counters = new IndicatorCounters(TestSchemas.Flat(4), PrivacyUnit.Event);
        var pane = new uint[4];
        counters.AddShared([2], 0);
        counters.Close(pane);
        Assert.Equal([0u, 0, 1, 0], pane);
        counters.AddShared([3], 0);
        counters.Add([3], 0);
        counters.Close(pane);
        Assert.Equal([0u, 0, 0, 2], pane);
    }

    [Fact]
    public void An_event_adds_at_most_its_bound_to_each_dimension()
    {
        var schema = TestSchemas.Two(heavy: 2, light: 1);
        var counters = new IndicatorCounters(schema, PrivacyUnit.Event);
        var light = schema.Dimensions[1].Start;
        counters.Add([0, 1, 2, 3, light, light + 1, -1, 99], 0);
        var pane = new uint[schema.Coordinates];
        counters.Close(pane);
        Assert.Equal([1u, 1, 0, 0, 1, 0, 0, 0], pane);
        Assert.Equal(3, counters.NotCounted);
    }

    [Theory]
    [InlineData(PrivacyUnit.Session)]
    [InlineData(PrivacyUnit.Tenant)]
    public void A_unit_adds_at_most_its_bound_to_a_pane_from_any_number_of_threads(PrivacyUnit unit)
    {
        const int Units = 50, Bound = 7;
        var schema = TestSchemas.Flat(Units, Bound);
        var counters = new IndicatorCounters(schema, unit, maxUnits: 64);
        var total = new uint[Units];
        for (var round = 0; round < 20; round++)
        {
            // Cell u is only ever raised by unit u, so that each unit's part of a pane can be read off it.
            Parallel.For(0, 20_000, i => counters.Add([i % Units], (ulong)(i % Units) + 1));
            counters.Close(total);
            Assert.All(total, count => Assert.Equal((uint)Bound, count));
        }
    }

    [Fact]
    public void While_panes_close_no_unit_passes_its_bound_in_any_of_them()
    {
        const int Units = 16, Bound = 3;
        var counters = new IndicatorCounters(TestSchemas.Flat(Units, Bound), PrivacyUnit.Session, maxUnits: 64);
        var stop = false;
        var threads = Enumerable.Range(0, 3).Select(t => new Thread(() =>
        {
            Span<int> cells = stackalloc int[1];
            for (var i = t; !Volatile.Read(ref stop); i++)
            {
                cells[0] = i % Units;
                counters.Add(cells, (ulong)(i % Units) + 1);
            }
        })).ToArray();
        foreach (var thread in threads)
            thread.Start();
        var pane = new uint[Units];
        var most = 0u;
        for (var i = 0; i < 3000; i++)
        {
            counters.Close(pane);
            most = Math.Max(most, pane.Max());
        }
        Volatile.Write(ref stop, true);
        foreach (var thread in threads)
            thread.Join();
        Assert.Equal((uint)Bound, most);
    }

    [Fact]
    public void Units_beyond_the_tables_room_are_not_counted()
    {
        var counters = new IndicatorCounters(TestSchemas.Flat(2), PrivacyUnit.Tenant, maxUnits: 16);
        for (var unit = 1ul; unit <= 1000; unit++)
            counters.Add([0], unit);
        var pane = new uint[2];
        counters.Close(pane);
        Assert.InRange(pane[0], 16u, 32u);
        Assert.Equal(1000, pane[0] + counters.NotCounted);
    }

    [Fact]
    public void Counters_stop_at_the_clip()
    {
        var counters = new IndicatorCounters(TestSchemas.Flat(2), PrivacyUnit.Event);
        for (var i = 0; i < IndicatorSchema.Clip + 100; i++)
            counters.Add([1], 0);
        var pane = new uint[2];
        counters.Close(pane);
        Assert.Equal((uint)IndicatorSchema.Clip, pane[1]);
    }

    [Theory]
    [InlineData(PrivacyUnit.Event)]
    [InlineData(PrivacyUnit.Session)]
    public void Counting_allocates_nothing(PrivacyUnit unit)
    {
        var counters = new IndicatorCounters(TestSchemas.Flat(8, 3), unit);
        int[] cells = [1, 2, 7];
        counters.Add(cells, 5);
        Assert.Equal(0, Allocated.Warm(() =>
        {
            for (var i = 0; i < 1000; i++)
                counters.Add(cells, (ulong)i);
        }));
    }

    [Fact]
    public void Randomised_confidence_answers_estimate_the_true_histogram()
    {
        var schema = IndicatorSchema.Create(new()
        {
            Name = "confidence",
            Dimensions = [new() { Name = "all" }],
            Indicators = [new() { Name = "confidence", Kind = IndicatorKind.Confidence, Dimension = "all", Edges = [0.25, 0.5, 0.75] }],
        });
        uint[] truth = [30_000, 10_000, 5_000, 0];
        var pane = (uint[])truth.Clone();
        ConfidenceAnswers.Randomise(schema, pane);
        Assert.Equal(45_000, pane.Sum(c => (long)c));
        Assert.NotEqual(truth, pane);
        var estimates = ConfidenceAnswers.Estimate(schema.Indicators[0], [.. pane.Select(c => (long)c)], 0);
        for (var bin = 0; bin < 4; bin++)
            Assert.InRange(estimates[bin].Count, truth[bin] - (6 * estimates[bin].Sigma), truth[bin] + (6 * estimates[bin].Sigma));
        Assert.All(estimates, e => Assert.InRange(e.Sigma, 100, 1500));
    }
}
