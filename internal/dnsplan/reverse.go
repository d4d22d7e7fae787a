package dnsplan

import (
	"fmt"
	"net/netip"
	"strings"
)

// Reverse gives the zones of a network's addresses (in-addr.arpa, ip6.arpa). A zone ends
// at an octet, or at a nibble for IPv6; a network that does not is cut into the zones
// that cover it and nothing else, at most 128 of them, 8 for IPv6.
func Reverse(p netip.Prefix) []string {
	step := 8
	if p.Addr().Is6() {
		step = 4
	}
	bits := (p.Bits() + step - 1) / step * step
	out := make([]string, 0, 1<<(bits-p.Bits()))
	addr := p.Masked().Addr()
	for range cap(out) {
		out = append(out, arpa(addr, bits/step))
		addr = after(addr, bits)
	}
	return out
}

// arpa is the zone of an address's first digits: octets, or nibbles for IPv6.
func arpa(addr netip.Addr, digits int) string {
	var parts []string
	suffix := "in-addr.arpa"
	if addr.Is6() {
		suffix = "ip6.arpa"
		for _, b := range addr.As16() {
			parts = append(parts, fmt.Sprintf("%x", b>>4), fmt.Sprintf("%x", b&15))
		}
	} else {
		for _, b := range addr.As4() {
			parts = append(parts, fmt.Sprint(b))
		}
	}
	var b strings.Builder
	for i := digits - 1; i >= 0; i-- {
		b.WriteString(parts[i] + ".")
	}
	return b.String() + suffix
}

// after is the first address of the next prefix of that many bits.
func after(addr netip.Addr, bits int) netip.Addr {
	raw := addr.AsSlice()
	if bits == 0 {
		return addr
	}
	carry := 1 << ((8 - bits%8) % 8)
	for i := (bits - 1) / 8; i >= 0 && carry > 0; i-- {
		sum := int(raw[i]) + carry
		raw[i], carry = byte(sum), sum>>8
	}
	next, _ := netip.AddrFromSlice(raw)
	return next
}
