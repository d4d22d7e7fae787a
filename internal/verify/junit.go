package verify

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// The JUnit elements that CI systems read.
type junitSuite struct {
	XMLName   xml.Name    `xml:"testsuite"`
	Name      string      `xml:"name,attr"`
	Tests     int         `xml:"tests,attr"`
	Failures  int         `xml:"failures,attr"`
	Time      string      `xml:"time,attr"`
	Timestamp string      `xml:"timestamp,attr"`
	Cases     []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Failure *junitFailure `xml:"failure,omitempty"`
	Output  string        `xml:"system-out,omitempty"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes the report as JUnit XML, one test case for each pair and service.
func (r Report) WriteJUnit(w io.Writer) error {
	suite := junitSuite{
		Name:      "sdn-tunnel verify",
		Tests:     len(r.Pairs) + len(r.Services),
		Failures:  r.Failed() + r.FailedServices(),
		Time:      fmt.Sprintf("%.1f", r.DurationSeconds),
		Timestamp: r.Started.UTC().Format("2006-01-02T15:04:05"),
	}
	for _, p := range r.Pairs {
		c := junitCase{Class: "sdn-tunnel." + string(p.Kind), Name: p.From + " -> " + p.To, Output: checkLines(p)}
		if !p.OK() {
			c.Failure = &junitFailure{Message: p.Failure(), Text: "first failing hop: " + p.FailingHop}
		}
		suite.Cases = append(suite.Cases, c)
	}
	for _, s := range r.Services {
		c := junitCase{Class: "sdn-tunnel.service." + string(s.Way), Name: s.From + " -> " + s.To}
		if !s.OK() {
			c.Failure = &junitFailure{Message: s.Failure()}
		}
		suite.Cases = append(suite.Cases, c)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(suite); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func checkLines(p Pair) string {
	var b strings.Builder
	for _, c := range p.Checks {
		state := "failed"
		switch {
		case c.OK:
			state = "ok"
		case c.Skipped:
			state = "skipped"
		}
		fmt.Fprintf(&b, "%s: %s %s\n", c.Name, state, c.Detail)
	}
	return b.String()
}
