package controller

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/clusterset"
)

const (
	// importShare of the addresses of the own service networks is for what other members
	// export: a quarter, so that whatever they do there is room for the cluster's own Services,
	// without which nobody could make one any more.
	importShare = 4
	// memberShare of that is for any one of them: half, so that one member does not take it all.
	memberShare = 2
	// usualAddresses are those of a cluster that has not said what it has: few enough for the
	// smallest usual service network, of 20 bits.
	usualAddresses = 1 << 12
	// mostAddresses of one network count; more than that nobody gives out.
	mostAddresses = 1 << 24

	reasonShareTaken = "ShareTaken"
)

// room is how many imports may have addresses: all of them, and those of one member.
type room struct{ all, member int }

// roomIn is the room in a cluster's service networks. Those of the first one's family count,
// as Services have addresses of that.
func roomIn(networks []netip.Prefix) room {
	addresses := 0
	for _, n := range networks {
		if bits := n.Addr().BitLen() - n.Bits(); n.Addr().Is4() == networks[0].Addr().Is4() {
			addresses += min(mostAddresses, 1<<min(bits, 30))
		}
	}
	all := cmp.Or(addresses, usualAddresses) / importShare
	return room{all, all / memberShare}
}

// shares knows which member's share of the addresses each import takes that the own cluster
// does not export. What has an address keeps it.
type shares struct {
	mu      sync.Mutex
	taken   map[clusterset.ID]string
	members map[string]int
	refused map[clusterset.ID]refusedImport
	room    room
}

// refusedImport is an import that there is no room for.
type refusedImport struct {
	member string // whose export is the oldest
	since  time.Time
}

func newShares() *shares {
	return &shares{taken: map[clusterset.ID]string{}, members: map[string]int{}, refused: map[clusterset.ID]refusedImport{}}
}

// take asks for the address of an import that these export, the oldest first; there: it has
// one. changed: something else is to be said of what is refused.
func (s *shares) take(id clusterset.ID, exports []clusterset.Export, there bool, r room) (ok, changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.room = r
	was, has := s.taken[id]
	if has && slices.ContainsFunc(exports, func(e clusterset.Export) bool { return e.Cluster == was }) {
		return true, false
	}
	s.drop(id)
	_, before := s.refused[id]
	for _, e := range exports {
		if len(s.taken) < r.all && s.members[e.Cluster] < r.member {
			s.give(id, e.Cluster)
			return true, before
		}
	}
	if has || there {
		s.give(id, exports[0].Cluster)
		return true, before
	}
	s.refused[id] = refusedImport{exports[0].Cluster, exports[0].Created}
	return false, !before
}

func (s *shares) give(id clusterset.ID, member string) {
	s.taken[id] = member
	s.members[member]++
	delete(s.refused, id)
}

func (s *shares) drop(id clusterset.ID) (had bool) {
	member, had := s.taken[id]
	if !had {
		return false
	}
	delete(s.taken, id)
	if s.members[member]--; s.members[member] == 0 {
		delete(s.members, member)
	}
	return true
}

// leave gives the share of an import back that has, or needs, none any more. next are those
// to try then: of each member, of what is refused, the oldest.
func (s *shares) leave(id clusterset.ID) (next []clusterset.ID, changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, changed = s.refused[id]
	delete(s.refused, id)
	if !s.drop(id) {
		return nil, changed
	}
	oldest := map[string]clusterset.ID{}
	for one, is := range s.refused {
		if of, ok := oldest[is.member]; !ok || cmp.Or(is.since.Compare(s.refused[of].since), cmp.Compare(one.String(), of.String())) < 0 {
			oldest[is.member] = one
		}
	}
	for _, one := range oldest {
		next = append(next, one)
	}
	return next, changed
}

// waiting are all that are refused, the oldest first.
func (s *shares) waiting() []clusterset.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]clusterset.ID, 0, len(s.refused))
	for id := range s.refused {
		all = append(all, id)
	}
	slices.SortFunc(all, func(a, b clusterset.ID) int {
		return cmp.Or(s.refused[a].since.Compare(s.refused[b].since), cmp.Compare(a.String(), b.String()))
	})
	return all
}

// tooMany says what is refused, empty if nothing is, and how many by member.
func (s *shares) tooMany() (text string, byMember map[string]int) {
	all := s.waiting()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(all) == 0 {
		return "", nil
	}
	byMember = map[string]int{}
	var words []string
	for _, id := range all {
		is, ok := s.refused[id]
		if !ok {
			continue
		}
		byMember[is.member]++
		if len(words) <= shown {
			words = append(words, is.member+": "+id.Namespace+"/"+id.Name)
		}
	}
	more := ""
	if len(words) > shown {
		words, more = words[:shown], fmt.Sprintf("; and %d more", len(all)-shown)
	}
	return fmt.Sprintf("%d services that other members export are not imported here: imports may have %d of the addresses of this cluster's service networks, and those of one member %d; have them export fewer, or remove their namespaces here: %s%s",
		len(all), s.room.all, s.room.member, strings.Join(words, "; "), more), byMember
}

// roomOf is the room that a cluster says it has.
func roomOf(lc *v1alpha1.LinkedCluster) room { return roomIn(networksOf(lc).services) }
