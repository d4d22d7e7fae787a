package tables

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Table is a flow table of the bridge.
type Table uint8

// OpenShift SDN's tables.
const (
	Classify        Table = 0
	VXLANIngress    Table = 10
	PodIngress      Table = 20
	ServiceIngress  Table = 25
	PolicyEgress    Table = 27
	Track           Table = 30
	Route           Table = 31
	LocalARP        Table = 40
	RemoteARP       Table = 50
	ToService       Table = 60
	ToPod           Table = 70
	PolicyIngress   Table = 80
	ToRemote        Table = 90
	NodeDNS         Table = 99
	EgressPolicy    Table = 100
	EgressRoute     Table = 101
	MulticastOut    Table = 110
	MulticastRemote Table = 111
	MulticastIn     Table = 120
	Version         Table = 253
)

// RuleVersion is that of the tables here; it and the mode are kept in a note in the
// Version table, by which the SDN knows its own bridge again.
const RuleVersion = 13

// defaultPriority is what a flow without one has (OpenFlow's OFP_DEFAULT_PRIORITY).
const defaultPriority = 32768

// Flow is one flow in ovs-ofctl's words. Match is canonical: sorted, comma separated.
type Flow struct {
	Cookie   uint64
	Table    Table
	Priority int
	Match    string
	Actions  string
}

func flow(t Table, priority int, match, actions string) Flow {
	return Flow{Table: t, Priority: priority, Match: canonical(match), Actions: actions}
}

// fields are the parts of a match.
func fields(match string) []string {
	return strings.FieldsFunc(match, func(r rune) bool { return r == ',' || r == ' ' })
}

func canonical(match string) string {
	parts := fields(match)
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

// String is the flow as ovs-ofctl add-flow takes it.
func (f Flow) String() string {
	return fmt.Sprintf("cookie=%#x, %s actions=%s", f.Cookie, f.key(), f.Actions)
}

// key is what names a flow strictly: table, priority and match.
func (f Flow) key() string {
	s := fmt.Sprintf("table=%d, priority=%d", f.Table, f.Priority)
	if f.Match != "" {
		s += "," + f.Match
	}
	return s
}

// ParseFlow reads a line of ovs-ofctl dump-flows --no-stats, or what String gives.
func ParseFlow(line string) (Flow, error) {
	head, actions, ok := strings.Cut(strings.TrimSpace(line), "actions=")
	if !ok {
		return Flow{}, fmt.Errorf("flow %q: no actions", line)
	}
	f := Flow{Priority: defaultPriority, Actions: actions}
	var match []string
	for _, field := range fields(head) {
		name, value, _ := strings.Cut(field, "=")
		var n uint64
		var err error
		switch name {
		case "cookie":
			f.Cookie, err = strconv.ParseUint(value, 0, 64)
		case "table":
			n, err = strconv.ParseUint(value, 10, 8)
			f.Table = Table(n)
		case "priority":
			n, err = strconv.ParseUint(value, 10, 16)
			f.Priority = int(n)
		default:
			match = append(match, field)
		}
		if err != nil {
			return Flow{}, fmt.Errorf("flow %q: %s: %w", line, name, err)
		}
	}
	f.Match = canonical(strings.Join(match, ","))
	return f, nil
}

// ParseFlows reads one flow a line; lines without actions (a dump's heading) are passed
// over.
func ParseFlows(text string) ([]Flow, error) {
	var flows []Flow
	for line := range strings.Lines(text) {
		if !strings.Contains(line, "actions=") {
			continue
		}
		f, err := ParseFlow(line)
		if err != nil {
			return nil, err
		}
		flows = append(flows, f)
	}
	return flows, nil
}
