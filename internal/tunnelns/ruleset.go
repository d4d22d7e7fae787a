package tunnelns

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Messages of nf_tables (linux/netfilter/nf_tables.h). Each transaction that changes rule
// sets of a namespace makes one generation of them; its notification ends those of the
// transaction.
const (
	nftSubsystem = unix.NFNL_SUBSYS_NFTABLES << 8
	newGen       = nftSubsystem | unix.NFT_MSG_NEWGEN
	getGen       = nftSubsystem | unix.NFT_MSG_GETGEN
	// sizeofNfgenmsg is the header of each message: family, version, resource.
	sizeofNfgenmsg = 4
)

// RulesetTable is the nftables table that an event of group NfTables is about; not ok for
// other events.
func (e Event) RulesetTable() (family byte, table string, ok bool) {
	if e.Type>>8 != unix.NFNL_SUBSYS_NFTABLES || e.Type == newGen || len(e.Data) < sizeofNfgenmsg {
		return 0, "", false
	}
	// The first attribute of every kind of object is the name of its table.
	if ad, err := netlink.NewAttributeDecoder(e.Data[sizeofNfgenmsg:]); err == nil {
		for ad.Next() {
			if ad.Type() == unix.NFTA_TABLE_NAME {
				return e.Data[0], ad.String(), true
			}
		}
	}
	return 0, "", false
}

// RulesetGeneration is the generation that a transaction has made, of which this is the
// last event; not ok for other events.
func (e Event) RulesetGeneration() (generation uint32, ok bool) {
	if e.Type != newGen {
		return 0, false
	}
	generation, err := readGeneration(e.Data)
	return generation, err == nil
}

// RulesetGeneration is the present generation of the namespace's rule sets.
func (n Namespace) RulesetGeneration() (uint32, error) {
	conn, err := n.dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	answer, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: getGen, Flags: netlink.Request}, Data: make([]byte, sizeofNfgenmsg),
	})
	if err != nil {
		return 0, fmt.Errorf("ask for the generation of the rule sets in %v: %w", n, err)
	}
	for _, m := range answer {
		if generation, err := readGeneration(m.Data); err == nil {
			return generation, nil
		}
	}
	return 0, fmt.Errorf("ask for the generation of the rule sets in %v: no answer", n)
}

func readGeneration(message []byte) (generation uint32, err error) {
	if len(message) < sizeofNfgenmsg {
		return 0, fmt.Errorf("a message of %d bytes is too short", len(message))
	}
	ad, err := netlink.NewAttributeDecoder(message[sizeofNfgenmsg:])
	if err != nil {
		return 0, fmt.Errorf("decode a generation: %w", err)
	}
	ad.ByteOrder = binary.BigEndian
	for ad.Next() {
		if ad.Type() == unix.NFTA_GEN_ID {
			return ad.Uint32(), ad.Err()
		}
	}
	if err := ad.Err(); err != nil {
		return 0, fmt.Errorf("decode a generation: %w", err)
	}
	return 0, errors.New("decode a generation: it is missing")
}
