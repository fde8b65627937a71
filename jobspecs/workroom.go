package jobspecs

import "sync"

// workroom is memory for what a job in JSON is on its way from text to state.Job. It is used again for the next one: a server that takes
// thousands of jobs a second would make two thirds of its garbage there. Jobs that want more room than there is get it from the heap.
type workroom struct {
	values  shelf[jsonValue]
	members shelf[member]
	lists   shelf[*jsonValue]
	attrs   shelf[named]
	nodes   shelf[node]
	text    []byte

	openMembers []member     // of the objects that are being read, the innermost last
	openLists   []*jsonValue // of the lists
}

// shelf holds things that are used once and all given back together.
type shelf[T any] struct {
	all  []T
	used int
}

// How much a workroom has: a job of a few groups needs a third of it.
const (
	roomValues = 256
	roomAttrs  = 256
	roomNodes  = 48
	roomText   = 8 << 10
)

// workrooms are those that nobody uses.
var workrooms = sync.OnceValue(func() *sync.Pool { return &sync.Pool{New: func() any { return newWorkroom() }} })

func newWorkroom() *workroom {
	return &workroom{
		values: newShelf[jsonValue](roomValues), members: newShelf[member](roomValues), lists: newShelf[*jsonValue](roomValues),
		attrs: newShelf[named](roomAttrs), nodes: newShelf[node](roomNodes), text: make([]byte, 0, roomText),
	}
}

func newShelf[T any](n int) shelf[T] { return shelf[T]{all: make([]T, n)} }

// take is n zero values that nobody else has.
func (s *shelf[T]) take(n int) []T {
	if s.used+n > len(s.all) {
		return make([]T, n)
	}
	s.used += n
	return s.all[s.used-n : s.used : s.used]
}

// giveBack ends the use of everything that was taken. Nothing of it is kept alive.
func (s *shelf[T]) giveBack() {
	clear(s.all[:s.used])
	s.used = 0
}

// leave gives the room back. Nothing of the tree may be used afterwards.
func (w *workroom) leave() {
	w.values.giveBack()
	w.members.giveBack()
	w.lists.giveBack()
	w.attrs.giveBack()
	w.nodes.giveBack()
	clear(w.openMembers[:cap(w.openMembers)])
	clear(w.openLists[:cap(w.openLists)])
	w.openMembers, w.openLists, w.text = w.openMembers[:0], w.openLists[:0], w.text[:0]
	if cap(w.openMembers)+cap(w.openLists) <= 2*roomValues && cap(w.text) <= 4*roomText {
		workrooms().Put(w)
	}
}
