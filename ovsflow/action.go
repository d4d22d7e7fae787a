package ovsflow

import (
	"fmt"

	"github.com/digitalocean/go-openvswitch/ovs"
)

// gotoTable is OpenFlow's goto_table instruction, which package ovs does not have.
type gotoTable int

// MarshalText implements ovs.Action.
func (t gotoTable) MarshalText() ([]byte, error) {
	if t < 0 || t > 254 {
		return nil, fmt.Errorf("goto_table:%d: want a table number, 0 to 254", int(t))
	}
	return fmt.Appendf(nil, "goto_table:%d", int(t)), nil
}

// GoString implements fmt.GoStringer.
func (t gotoTable) GoString() string { return fmt.Sprintf("ovsflow.gotoTable(%d)", int(t)) }

// verbatim is an action as Open vSwitch printed it; Parse makes them.
type verbatim string

// MarshalText implements ovs.Action.
func (v verbatim) MarshalText() ([]byte, error) { return []byte(v), nil }

// GoString implements fmt.GoStringer.
func (v verbatim) GoString() string { return fmt.Sprintf("ovsflow.verbatim(%q)", string(v)) }

// term is one match as Open vSwitch printed it, with or without a value.
type term string

// MarshalText implements ovs.Match.
func (t term) MarshalText() ([]byte, error) { return []byte(t), nil }

// GoString implements fmt.GoStringer.
func (t term) GoString() string { return fmt.Sprintf("ovsflow.term(%q)", string(t)) }

var (
	_ ovs.Action = gotoTable(0)
	_ ovs.Action = verbatim("")
	_ ovs.Match  = term("")
)
