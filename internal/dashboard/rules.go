package dashboard

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// States of an alert: its rule's expression gives something, and has for as long as the rule
// wants.
const (
	Inactive = "inactive"
	Pending  = "pending"
	Firing   = "firing"
)

// Rule is one of a Prometheus: State is empty if it only records.
type Rule struct {
	Name, Query string
	State       string
	Evaluated   bool
	Problem     string
	Alerts      []Alert
}

// Alert is one of a rule, for one set of labels.
type Alert struct {
	State   string
	Since   time.Time
	Summary string
}

// Judge tells what is wrong with the rules: those that cannot be evaluated, alerts that must
// fire and do not, or, with quiet, alerts that there are.
func Judge(rules []Rule, must []string, quiet bool) error {
	var problems []error
	if len(rules) == 0 {
		problems = append(problems, errors.New("there are no rules"))
	}
	for _, r := range rules {
		if !r.Evaluated {
			problems = append(problems, fmt.Errorf("rule %s was not evaluated: %s", r.Name, cmp.Or(r.Problem, "its turn has not come yet")))
		}
		if quiet && r.State != "" && r.State != Inactive {
			problems = append(problems, fmt.Errorf("alert %s is %s where nothing is wrong: %s", r.Name, r.State, r.summaries()))
		}
	}
	for _, name := range must {
		at := slices.IndexFunc(rules, func(r Rule) bool { return r.Name == name && r.State != "" })
		switch {
		case at < 0:
			problems = append(problems, fmt.Errorf("there is no alert %s", name))
		case rules[at].State != Firing:
			problems = append(problems, fmt.Errorf("alert %s does not fire: it is %s", name, rules[at].State))
		}
	}
	return errors.Join(problems...)
}

func (r Rule) summaries() string {
	var all []string
	for _, a := range r.Alerts {
		all = append(all, a.Summary)
	}
	return strings.Join(all, "; ")
}

// WriteRules shows the alerts as a table.
func WriteRules(w io.Writer, rules []Rule, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "ALERT\tSTATE\tFOR\tSAYS")
	for _, r := range rules {
		if r.State == "" {
			continue
		}
		if len(r.Alerts) == 0 {
			fmt.Fprintf(t, "%s\t%s\t\t\n", r.Name, r.State)
		}
		for _, a := range r.Alerts {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", r.Name, a.State, now.Sub(a.Since).Round(time.Second), a.Summary)
		}
	}
	return t.Flush()
}
