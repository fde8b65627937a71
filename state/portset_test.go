package state

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestPortSetsAgreeWithMaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		port := rapid.OneOf(rapid.IntRange(-1, 70), rapid.IntRange(4090, 4100), rapid.IntRange(65530, 65540), rapid.IntRange(1, 65535))
		taken := map[int]bool{}
		var s *PortSet
		for range rapid.IntRange(0, 20).Draw(t, "edits") {
			ports := rapid.SliceOfN(port, 1, 4).Draw(t, "ports")
			before, had := s, s.Has(ports[0])
			add := rapid.Bool().Draw(t, "add")
			if add {
				s = s.With(ports...)
			} else {
				s = s.Without(ports...)
			}
			for _, p := range ports {
				if p > 0 && p <= 65535 {
					taken[p] = add
				}
			}
			if before.Has(ports[0]) != had {
				t.Fatal("a set that was handed out has changed")
			}
		}
		for p, want := range taken {
			if s.Has(p) != want {
				t.Fatalf("port %d: got %v", p, s.Has(p))
			}
		}
		lo, hi := port.Draw(t, "lo"), port.Draw(t, "hi")
		want := 0
		for p := range taken {
			if taken[p] && p >= lo && p <= hi {
				want++
			}
		}
		if got := s.TakenBetween(lo, hi); got != want {
			t.Fatalf("%d taken from %d to %d, want %d", got, lo, hi, want)
		}
		if !s.Has(0) || !s.Has(65536) || !s.Has(-5) {
			t.Fatal("what is no port is not free")
		}
	})
}

func TestPick(t *testing.T) {
	var none *PortSet
	static := []Port{{Value: 20001}}
	for seed := range uint64(10) {
		got := none.With(20002).Pick(20000, 20004, 3, seed, static)
		if len(got) != 3 || slices.Contains(got, 20001) || slices.Contains(got, 20002) {
			t.Fatalf("seed %d: picked %v", seed, got)
		}
	}
	if got := none.With(20002).Pick(20000, 20004, 4, 0, static); got != nil {
		t.Fatalf("picked %v, there are only 3", got)
	}
	if got := none.Pick(20000, 19999, 1, 0, nil); got != nil {
		t.Fatalf("picked %v from an empty range", got)
	}
}

func TestCovers(t *testing.T) {
	var none *PortSet
	a, b := none.With(80, 5000), none.With(80)
	for _, c := range []struct {
		name string
		s, t *PortSet
		want bool
	}{{"more", a, b, true}, {"less", b, a, false}, {"empty", b, none, true}, {"nothing", none, b, false}, {"emptied", none, b.Without(80), true}} {
		if got := c.s.Covers(c.t); got != c.want {
			t.Errorf("%s: got %v", c.name, got)
		}
	}
}
