package svcproxy

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// The set "affinity" holds which client (source address) of which service has which
// backend, with a timeout that each connection begins anew. A backend is known there by
// an identifier that stays the same whatever other backends come and go, also when the
// agent starts anew; so the client of a backend that is gone simply finds no entry for
// any of those that are left, and nobody has to clean up after it.
//
// A chain asks for one backend after the other, as kube-proxy does, whether the client
// has it; its cost grows with the number of backends, for the first packet of a
// connection to a service with affinity.

// client is the expression of a client and service, with the mark for the backend.
const client = "ip saddr . " + service + " . meta mark"

// affinityRules: keep the backend that the client has; else take one and note it; else,
// when the set is full, just take it; else, as in rules, take the first one.
func (c chain) affinityRules() []string {
	identify := fmt.Sprintf("meta mark set %s . meta mark map @%s", service, mapIDs)
	note := fmt.Sprintf("update @%s { %s timeout %ds }", setAffinity, client, c.affinity)
	var rules []string
	for i := range c.backends {
		rules = append(rules, fmt.Sprintf("meta mark set %d %s %s @%s %s %s", i, identify, client, setAffinity, note, toMarked))
	}
	return append(rules,
		pick(c.backends)+" "+identify+" "+note+" "+toMarked,
		toMarked,
		pick(1)+" "+identify+" "+toMarked,
	)
}

// id is the identifier of a backend within its service: its address. No index is as
// large, as no pod has an address that begins with 0.
func id(backend netip.AddrPort) uint32 {
	a := backend.Addr().As4()
	return binary.BigEndian.Uint32(a[:])
}
