// Package events says on objects of the API what happened to them, for people who describe
// them: Events of events.k8s.io, bounded in number, length and memory.
//
// What is said of one object and one action comes at once, and then spaced out, more the
// longer it goes on; meanwhile the last of it stands for all. So a link that flaps, or a
// thousand peers that go one after another, cost a few Events. Writing needs the right to
// create Events and no other: an Event is never changed, so its holder cannot change
// anybody else's either.
//
// It decides not what is worth saying. Texts are cut and stripped of control characters; to
// keep secrets out of them is for those who say them. Of others' Events it tells when they
// were seen.
package events
