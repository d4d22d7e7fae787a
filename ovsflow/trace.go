package ovsflow

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Trace is a packet's way through the tables, as `ovs-appctl ofproto/trace` shows it.
type Trace struct {
	Steps []Step
	// Outputs are the ports, by number or name, that the packet went out by.
	Outputs []string
}

// Step is one flow that the packet met.
type Step struct {
	Table int
	// Flow is its match as Open vSwitch prints it, with priority and cookie.
	Flow string
	Ours bool
}

// Last is the flow that decided.
func (t Trace) Last() Step { return t.Steps[len(t.Steps)-1] }

// Leaves tells whether the packet goes out by the port.
func (t Trace) Leaves(port uint32) bool {
	return slices.Contains(t.Outputs, strconv.FormatUint(uint64(port), 10))
}

var (
	// A flow that matched: " 0. ip, priority 100", deeper in what it calls.
	traceStep = regexp.MustCompile(`^\s*(\d{1,3})\. (.+)$`)
	// What it did: "output:2", or where the port is in a register, "-> output port is 2".
	traceOutput = regexp.MustCompile(`^\s+(?:output:|-> output port is )([A-Za-z0-9_.-]+)$`)
)

// ParseTrace reads what ofproto/trace prints. A packet that is recirculated, as by
// connection tracking, is one trace all along.
func ParseTrace(text string) (Trace, error) {
	var t Trace
	ours := fmt.Sprintf("cookie %#x", Cookie)
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if m := traceStep.FindStringSubmatch(line); m != nil {
			table, err := strconv.Atoi(m[1])
			if err != nil || table > 254 {
				return Trace{}, fmt.Errorf("%q: %s is no table", line, m[1])
			}
			t.Steps = append(t.Steps, Step{Table: table, Flow: m[2], Ours: strings.Contains(m[2], ours)})
		}
		if m := traceOutput.FindStringSubmatch(line); m != nil {
			t.Outputs = append(t.Outputs, m[1])
		}
	}
	if len(t.Steps) == 0 {
		return Trace{}, errors.New("no flow is named in it")
	}
	return t, nil
}
