package ovsflow

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/digitalocean/go-openvswitch/ovs"
)

// Parse reads what `ovs-ofctl -O OpenFlow13 --no-names dump-flows` prints, with or without
// statistics: one flow a line. Headings and empty lines are passed over, any other line
// that is no flow is an error, for a flow that is misread would be repaired for ever.
//
// Package ovs has a parser too, but it drops what it does not know, in silence.
func Parse(dump string) ([]*ovs.Flow, error) {
	var flows []*ovs.Flow
	for i, line := range strings.Split(dump, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || isHeading(line) {
			continue
		}
		f, err := parseLine(line)
		if err != nil {
			return nil, fmt.Errorf("line %d of the flows, %q: %w", i+1, line, err)
		}
		flows = append(flows, f)
	}
	return flows, nil
}

// isHeading: "OFPST_FLOW reply (OF1.3) (xid=0x2):", "NXST_FLOW reply …". A dump too long
// for one OpenFlow message has one for each, all but the last ending with "flags=[more]".
func isHeading(line string) bool {
	name, _, ok := strings.Cut(line, " reply (")
	return ok && (name == "OFPST_FLOW" || name == "NXST_FLOW")
}

func parseLine(line string) (*ovs.Flow, error) {
	match, actions, ok := strings.Cut(line, "actions=")
	if !ok {
		return nil, fmt.Errorf("no actions=")
	}
	f := &ovs.Flow{Priority: defaultPriority}
	terms, err := split(match)
	if err != nil {
		return nil, err
	}
	for _, t := range terms {
		if err := parseTerm(f, t); err != nil {
			return nil, err
		}
	}
	list, err := split(actions)
	if err != nil {
		return nil, err
	}
	for _, a := range list {
		f.Actions = append(f.Actions, verbatim(a))
	}
	if len(f.Actions) == 0 {
		return nil, fmt.Errorf("no action")
	}
	return f, nil
}

// defaultPriority is OFP_DEFAULT_PRIORITY, which ovs-ofctl leaves out of its output.
const defaultPriority = 32768

// protocols are the shorthands that ovs-ofctl prints for eth_type and nw_proto.
var protocols = map[string]bool{
	"ip": true, "ipv6": true, "arp": true, "rarp": true, "icmp": true, "icmp6": true,
	"tcp": true, "tcp6": true, "udp": true, "udp6": true, "sctp": true, "sctp6": true,
}

// parseTerm reads one of the comma-separated parts before the actions.
func parseTerm(f *ovs.Flow, t string) error {
	key, value, _ := strings.Cut(t, "=")
	var err error
	switch key {
	case "cookie":
		f.Cookie, err = strconv.ParseUint(value, 0, 64)
	case "table":
		f.Table, err = parseInt(value, 254)
	case "priority":
		f.Priority, err = parseInt(value, 65535)
	case "idle_timeout":
		f.IdleTimeout, err = parseInt(value, 65535)
	case "n_packets":
		f.Stats.PacketCount, err = strconv.ParseUint(value, 10, 64)
	case "n_bytes":
		f.Stats.ByteCount, err = strconv.ParseUint(value, 10, 64)
	case "duration", "idle_age", "hard_age":
		return nil
	case "in_port":
		if value == "LOCAL" {
			f.InPort = ovs.PortLOCAL
			return nil
		}
		f.InPort, err = parseInt(value, 1<<32-1)
	default:
		if protocols[t] && f.Protocol == "" {
			f.Protocol = ovs.Protocol(t)
			return nil
		}
		f.Matches = append(f.Matches, term(t))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

func parseInt(s string, top uint64) (int, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err == nil && n > top {
		err = fmt.Errorf("%d is above %d", n, top)
	}
	return int(n), err
}

// split cuts at commas and spaces that are not inside parentheses.
func split(s string) ([]string, error) {
	var parts []string
	depth, start := 0, 0
	add := func(end int) {
		if p := strings.TrimSpace(s[start:end]); p != "" {
			parts = append(parts, p)
		}
		start = end + 1
	}
	for i := range len(s) {
		switch s[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth < 0 {
				return nil, fmt.Errorf("a ) without its (")
			}
		case ',', ' ':
			if depth == 0 {
				add(i)
			}
		}
	}
	add(len(s))
	if depth != 0 {
		return nil, fmt.Errorf("a ( without its )")
	}
	return parts, nil
}
