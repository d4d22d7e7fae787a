package dashboard

import (
	"strings"
	"testing"
	"time"
)

func TestJudge(t *testing.T) {
	recorded := Rule{Name: "lost:ratio5m", Evaluated: true}
	calm := Rule{Name: "Calm", State: Inactive, Evaluated: true}
	soon := Rule{Name: "Soon", State: Pending, Evaluated: true, Alerts: []Alert{{State: Pending, Summary: "a is slow"}, {State: Pending, Summary: "b is slow"}}}
	loud := Rule{Name: "Loud", State: Firing, Evaluated: true, Alerts: []Alert{{State: Firing, Summary: "c is down"}}}
	broken := Rule{Name: "Broken", State: Inactive, Problem: "many-to-many"}
	for name, c := range map[string]struct {
		rules []Rule
		must  []string
		quiet bool
		want  []string // parts of the complaint
	}{
		"quiet":                       {[]Rule{recorded, calm}, nil, true, nil},
		"not quiet, and need not be":  {[]Rule{calm, soon, loud}, nil, false, nil},
		"not quiet":                   {[]Rule{calm, soon, loud}, nil, true, []string{"Soon is pending where nothing is wrong: a is slow; b is slow", "Loud is firing"}},
		"it fires":                    {[]Rule{calm, loud}, []string{"Loud"}, false, nil},
		"it will fire":                {[]Rule{soon}, []string{"Soon"}, false, []string{"Soon does not fire: it is pending"}},
		"it does not fire":            {[]Rule{calm}, []string{"Calm"}, false, []string{"Calm does not fire: it is inactive"}},
		"no such alert":               {[]Rule{calm}, []string{"Other"}, false, []string{"there is no alert Other"}},
		"a recording rule is no such": {[]Rule{recorded}, []string{"lost:ratio5m"}, false, []string{"there is no alert lost:ratio5m"}},
		"it cannot be evaluated":      {[]Rule{broken}, nil, false, []string{"rule Broken was not evaluated: many-to-many"}},
		"it was not evaluated yet":    {[]Rule{{Name: "New"}}, nil, false, []string{"rule New was not evaluated: its turn"}},
		"nothing is loaded":           {nil, nil, true, []string{"there are no rules"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := Judge(c.rules, c.must, c.quiet)
			if (err == nil) != (len(c.want) == 0) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q", err, want)
				}
			}
		})
	}
}

func TestWriteRules(t *testing.T) {
	var b strings.Builder
	rules := []Rule{{Name: "recorded"}, {Name: "Calm", State: Inactive},
		{Name: "Loud", State: Firing, Alerts: []Alert{{Firing, start, "c is down"}, {Pending, start.Add(time.Minute), "d is down"}}}}
	if err := WriteRules(&b, rules, start.Add(90*time.Second)); err != nil {
		t.Fatal(err)
	}
	want := "ALERT  STATE     FOR    SAYS\nCalm   inactive         \nLoud   firing    1m30s  c is down\nLoud   pending   30s    d is down\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}
