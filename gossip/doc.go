// Package gossip knows who is there: hashicorp/memberlist with the tags of this project.
//
// It owns: the list of members with the tags each one tells about itself (IDs, addresses, version, role), those that died or
// left a while ago, the refusal of members of another cluster and of a second machine with one node's ID, and the healing of
// long partitions (memberlist forgets the dead after half a minute and would never look for them again).
//
// It refuses: deciding anything by it. Gossip is a hint and an address book; the log is the truth. A member that is suspected
// and not yet given up counts as alive: memberlist does not tell.
//
// All methods may be called from any goroutine. Changed is for one reader. memberlist calls back under its own lock, so nothing
// here calls into memberlist from there: callbacks write one map and leave a mark in the channel.
package gossip
