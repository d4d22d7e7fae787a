package ovsflow

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/digitalocean/go-openvswitch/ovs"
)

// Text is the canonical text of a flow: two flows are the same to Open vSwitch if, and as
// far as this package's vocabulary goes only if, their texts are equal. ovs-ofctl reads it:
//
//	cookie=0x73646e74756e0001,table=30,priority=350,ip,nw_dst=10.132.0.0/14,nw_src=10.128.0.0/23 actions=ct(commit),…
func Text(f *ovs.Flow) (string, error) {
	match, err := matchText(f)
	if err != nil {
		return "", err
	}
	if len(f.Actions) == 0 {
		return "", errors.New("flow without actions; dropping is an action, too")
	}
	actions := make([]string, len(f.Actions))
	for i, a := range f.Actions {
		t, err := a.MarshalText()
		if err != nil {
			return "", fmt.Errorf("action %#v: %w", a, err)
		}
		actions[i] = canonicalAction(string(t))
	}
	return fmt.Sprintf("cookie=%#x,%s actions=%s", f.Cookie, match, strings.Join(actions, ",")), nil
}

// matchText is the part of the text that identifies a flow in a bridge: adding another
// with the same one replaces it.
func matchText(f *ovs.Flow) (string, error) {
	parts := []string{"table=" + strconv.Itoa(f.Table), "priority=" + strconv.Itoa(f.Priority)}
	if f.Protocol != "" {
		parts = append(parts, string(f.Protocol))
	}
	terms := make([]string, 0, len(f.Matches)+1)
	switch {
	case f.InPort == ovs.PortLOCAL:
		terms = append(terms, "in_port=LOCAL")
	case f.InPort != 0:
		terms = append(terms, "in_port="+strconv.Itoa(f.InPort))
	}
	for _, m := range f.Matches {
		t, err := m.MarshalText()
		if err != nil {
			return "", fmt.Errorf("match %#v: %w", m, err)
		}
		terms = append(terms, canonicalTerm(string(t)))
	}
	slices.Sort(terms)
	return strings.Join(append(parts, terms...), ","), nil
}

// canonicalTerm writes a match as Open vSwitch prints it: prefixes without host bits, a
// single address without its length, numbers as number does.
func canonicalTerm(t string) string {
	key, value, ok := strings.Cut(t, "=")
	if !ok {
		return t
	}
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	switch {
	case strings.HasPrefix(key, "reg") || key == "tun_id" || key == "metadata":
		if n, err := strconv.ParseUint(value, 0, 64); err == nil {
			value = number(n)
		}
	default:
		if p, err := netip.ParsePrefix(value); err == nil {
			value = address(p.Masked())
		}
	}
	return key + "=" + value
}

// canonicalAction writes an action as Open vSwitch prints it.
func canonicalAction(a string) string {
	if rest, ok := strings.CutPrefix(a, "load:"); ok {
		if value, field, ok := strings.Cut(rest, "->"); ok {
			if n, err := strconv.ParseUint(value, 0, 64); err == nil {
				return "load:" + number(n) + "->" + field
			}
		}
	}
	if rest, ok := strings.CutPrefix(a, "set_field:"); ok {
		if value, field, ok := strings.Cut(rest, "->"); ok {
			return "set_field:" + strings.ToLower(value) + "->" + field
		}
	}
	return a
}

// number is n as Open vSwitch prints numbers of fields: in hex, zero bare.
func number(n uint64) string {
	if n == 0 {
		return "0"
	}
	return fmt.Sprintf("%#x", n)
}

// address is p as Open vSwitch prints it: a single address without its length.
func address(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// Sort gives the flows in the order of their canonical texts, without repetitions.
func Sort(flows []*ovs.Flow) ([]*ovs.Flow, error) {
	byText, texts, err := index(flows, Text)
	if err != nil {
		return nil, err
	}
	sorted := make([]*ovs.Flow, len(texts))
	for i, t := range texts {
		sorted[i] = byText[t]
	}
	return sorted, nil
}

// index finds flows by a text of theirs; the texts are sorted.
func index(flows []*ovs.Flow, key func(*ovs.Flow) (string, error)) (map[string]*ovs.Flow, []string, error) {
	by := make(map[string]*ovs.Flow, len(flows))
	texts := make([]string, 0, len(flows))
	for _, f := range flows {
		t, err := key(f)
		if err != nil {
			return nil, nil, err
		}
		if by[t] == nil {
			texts = append(texts, t)
		}
		by[t] = f
	}
	slices.Sort(texts)
	return by, texts, nil
}
