package dashboard

import (
	"math"
	"slices"
	"strconv"
	"time"
)

// unit is one step of a unit of Grafana: a value from From on is shown divided by By.
type unit struct {
	from, by float64
	name     string
}

// unitSteps are Grafana's units with their steps, the largest last. The first holds for what
// is smaller, too.
var unitSteps = map[string][]unit{
	"short":       {{0, 1, ""}, {1e3, 1e3, " K"}, {1e6, 1e6, " Mil"}},
	"percentunit": {{0, 0.01, "%"}},
	"Bps":         {{0, 1, " B/s"}, {1e3, 1e3, " kB/s"}, {1e6, 1e6, " MB/s"}, {1e9, 1e9, " GB/s"}},
	"s": {{0, 1e-6, " µs"}, {1e-3, 1e-3, " ms"}, {1, 1, " s"}, {120, 60, " min"},
		{2 * 3600, 3600, " h"}, {2 * 86400, 86400, " d"}},
}

func units() []string {
	var all []string
	for name := range unitSteps {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// unitOf is the step of a unit in which values up to most are shown.
func unitOf(name string, most float64) unit {
	steps := unitSteps[name]
	at := steps[0]
	for _, s := range steps {
		if most >= s.from {
			at = s
		}
	}
	return at
}

// show writes a value with three digits, which is enough of what is read off a picture.
func (u unit) show(value float64) string {
	v := value / u.by
	if v == 0 {
		return "0" + u.name
	}
	digits := max(0, 2-int(math.Floor(math.Log10(math.Abs(v)))))
	scale := math.Pow(10, float64(min(digits, 12)))
	return strconv.FormatFloat(math.Round(v*scale)/scale, 'f', -1, 64) + u.name
}

// Show writes a value in a unit of Grafana.
func Show(name string, value float64) string {
	if value == 0 {
		return unit{by: 1, name: unitSteps[name][0].name}.show(0)
	}
	return unitOf(name, math.Abs(value)).show(value)
}

// scale is a vertical axis: from low to high, with a line at each tick.
type scale struct {
	low, high float64
	ticks     []float64
	unit      unit
}

// scaleOf is the axis for values between low and high. It has zero in it, ends at ticks, and
// has steps of 1, 2 or 5 in the unit that is shown; things that are counted have whole ones.
func scaleOf(name string, low, high float64, lines int) scale {
	low, high = min(low, 0), max(high, 0)
	if low == high {
		high = 1
	}
	u := unitOf(name, max(high, -low))
	step := niceStep((high-low)/u.by/float64(lines)) * u.by
	if name == "short" && high >= 1 {
		step = max(step, 1)
	}
	s := scale{low: math.Floor(low/step+1e-9) * step, high: math.Ceil(high/step-1e-9) * step, unit: u}
	for i := math.Round(s.low / step); i <= math.Round(s.high/step); i++ {
		s.ticks = append(s.ticks, i*step)
	}
	return s
}

// niceStep is the smallest of 1, 2 and 5 times a power of ten that is not below least.
func niceStep(least float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(least)))
	for _, n := range []float64{1, 2, 5} {
		if n*power >= least*(1-1e-9) {
			return n * power
		}
	}
	return 10 * power
}

// timeTicks are full minutes in the window, or multiples of them: at most as many as asked.
func timeTicks(w Window, most int) []time.Time {
	step := time.Minute
	for _, minutes := range []int{1, 2, 5, 10, 15, 30, 60, 120, 360, 720, 1440} {
		if step = time.Duration(minutes) * time.Minute; int(w.To.Sub(w.From)/step) <= most {
			break
		}
	}
	var all []time.Time
	for at := w.From.Truncate(step); !at.After(w.To); at = at.Add(step) {
		if !at.Before(w.From) {
			all = append(all, at)
		}
	}
	return all
}
