package state

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// fullAlloc is a row with something in every field.
func fullAlloc() *Alloc {
	return &Alloc{
		ID: AllocID([16]byte{1}, 0), Index: 1, Name: "a.g[1]",
		AllocGroup: &AllocGroup{Namespace: "n", JobID: "j", JobVersion: 1, JobType: "service", TaskGroup: "g", Priority: 1, Resources: AllocResources{
			CPU: 1, MemoryMB: 2, MemoryMaxMB: 3, DiskMB: 4, Cores: []int{1}, Devices: []AllocDevice{{Vendor: "v", Type: "t", Name: "n", IDs: []string{"i"}}},
		}},
		AllocNode:     &AllocNode{NodeID: "n1", NodeName: "m1"},
		Ports:         []AllocPort{{Label: "l", HostIP: "h", HostPort: 1, AllocIP: "a", To: 2}},
		DesiredStatus: "run", DesiredDescription: "d", Migrate: true, ClientStatus: "running", ClientDescription: "c",
		TaskStates: MakeTaskStates(map[string]TaskState{"t": {State: "running", Restarts: 1, StartedAt: 5, Events: []TaskEvent{{Type: "Started", Time: 7, Message: "m"}}}}),
		ReportBoot: 1, ReportSeq: 2, ClientModifyTime: 3, PreviousAllocation: "p", NextAllocation: "x",
		RescheduleEvents: []RescheduleEvent{{Time: 1, PrevAllocID: "p", PrevNodeID: "n", Delay: 2}}, CreateTime: 1, CreateIndex: 2, ModifyIndex: 3,
	}
}

// TestAllocHashSeesEveryField changes each field of a row, however deep, and expects another hash: a field that is added later and
// forgotten in hash fails here.
func TestAllocHashSeesEveryField(t *testing.T) {
	seen := map[uint64]string{fullAlloc().hash(): "nothing"}
	var visit func(path string, pick func(*Alloc) reflect.Value)
	visit = func(path string, pick func(*Alloc) reflect.Value) {
		switch v := pick(fullAlloc()); v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				visit(path+"."+v.Type().Field(i).Name, func(a *Alloc) reflect.Value { return pick(a).Field(i) })
			}
		case reflect.Pointer:
			visit(path, func(a *Alloc) reflect.Value { return pick(a).Elem() })
		case reflect.Slice:
			visit(path+"[0]", func(a *Alloc) reflect.Value { return pick(a).Index(0) })
			a := fullAlloc()
			pick(a).SetZero()
			note(t, seen, path+" empty", a)
		default:
			a := fullAlloc()
			change(t, path, pick(a))
			note(t, seen, path, a)
		}
	}
	for i := range reflect.TypeFor[Alloc]().NumField() {
		field := reflect.TypeFor[Alloc]().Field(i)
		if field.Type == reflect.TypeFor[TaskStates]() {
			continue // below
		}
		visit(field.Name, func(a *Alloc) reflect.Value { return reflect.ValueOf(a).Elem().Field(i) })
	}
	for name, edit := range map[string]func(*TaskState){
		"state": func(ts *TaskState) { ts.State = "dead" }, "started": func(ts *TaskState) { ts.StartedAt++ },
		"event": func(ts *TaskState) { ts.Events[0].Time++ }, "message": func(ts *TaskState) { ts.Events[0].Message = "o" },
		"crash": func(ts *TaskState) { ts.Crash = &CrashTail{Reason: "r"} },
	} {
		a := fullAlloc()
		ts := a.TaskStates.Get("t")
		edit(&ts)
		a.TaskStates = MakeTaskStates(map[string]TaskState{"t": ts})
		note(t, seen, "TaskStates "+name, a)
	}
	a := fullAlloc()
	a.TaskStates = TaskStates{}
	note(t, seen, "no TaskStates", a)
}

func note(t *testing.T, seen map[uint64]string, path string, a *Alloc) {
	h := a.hash()
	if other, twice := seen[h]; twice {
		t.Errorf("a change of %s hashes like one of %s", path, other)
	}
	seen[h] = path
}

func change(t *testing.T, path string, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(v.String() + "~")
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int() + 100)
	case reflect.Uint64:
		v.SetUint(v.Uint() + 100)
	case reflect.Bool:
		v.SetBool(!v.Bool())
	default:
		t.Errorf("%s is a %s, which this test does not know", path, v.Kind())
	}
}

func TestParseID(t *testing.T) {
	id := AllocID([16]byte{7}, 2)
	key, ok := parseID(id)
	if !ok || key.String() != id {
		t.Errorf("%s is read as %s, %v", id, key, ok)
	}
	for _, bad := range []string{"", "x", id[:35], id + "0", "G" + id[1:], "A" + id[1:], id[:8] + "0" + id[9:]} {
		if _, ok := parseID(bad); ok {
			t.Errorf("%q is taken for an ID", bad)
		}
	}
}

// TestAllocTable compares the table with a plain list of rows, also after it was copied.
func TestAllocTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type row struct {
			id        idKey
			job, node string
			value     int
		}
		var plain []row
		table := newAllocTable()
		alloc := func(r row) *Alloc {
			return &Alloc{ID: r.id.String(), AllocGroup: &AllocGroup{JobID: r.job}, AllocNode: &AllocNode{NodeID: r.node}, Index: r.value}
		}
		var old []allocTable // must not change any more
		var sums []uint64
		var lists []string
		listed := func(t *allocTable) string { return fmt.Sprint(t.byJob.listed(rowKey("", "a")), t.byNode.listed("x")) }
		for step := range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch pick := rapid.IntRange(0, 6).Draw(t, "what"); {
			case pick <= 2 || len(plain) == 0:
				r := row{id: idKey{uint64(step) * 0x9e3779b97f4a7c15, uint64(step)}, job: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "job"), node: rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "node")}
				if n := len(plain); n > 0 && rapid.Bool().Draw(t, "next") && table.ids.free(plain[n-1].id.plus(1), 1) {
					r.id = plain[n-1].id.plus(1)
				}
				plain = append(plain, r)
				table.add(r.id, alloc(r), table.byJob.edit(rowKey("", r.job)), table.byNode.edit(r.node))
			case pick == 3:
				i := rapid.IntRange(0, len(plain)-1).Draw(t, "removed")
				table.remove(alloc(plain[i]))
				plain = slices.Delete(plain, i, i+1)
			case pick == 4:
				i := rapid.IntRange(0, len(plain)-1).Draw(t, "changed")
				plain[i].value++
				serial, _ := table.find(plain[i].id)
				table.put(serial, alloc(plain[i]))
			case pick == 5: // another line, of which nothing stays
				dry := table.clone()
				l := new(line)
				dry.byJob.line, dry.byNode.line = l, l
				id := idKey{1<<40 | uint64(step)<<32, 1}
				dry.add(id, alloc(row{id, "a", "x", 1}), dry.byJob.edit(rowKey("", "a")), dry.byNode.edit("x"))
			default:
				old, sums, lists = append(old, table), append(sums, table.sum), append(lists, listed(&table))
				table = table.clone()
			}
		}
		check := func(name string, got []*Alloc, of func(row) bool) {
			var want []*Alloc
			for _, r := range plain {
				if of(r) {
					want = append(want, alloc(r))
				}
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%s: %v, want %v", name, got, want)
			}
		}
		check("created", slices.Collect(table.created()), func(row) bool { return true })
		for _, job := range []string{"a", "b", "c"} {
			check("job "+job, slices.Collect(table.these(table.byJob.listed(rowKey("", job)))), func(r row) bool { return r.job == job })
		}
		for _, node := range []string{"x", "y", "z"} {
			last := slices.Collect(table.newest(table.byNode.listed(node)))
			slices.Reverse(last)
			check("newest of "+node, last, func(r row) bool { return r.node == node })
			check("node "+node, slices.Collect(table.these(table.byNode.listed(node))), func(r row) bool { return r.node == node })
		}
		var sum uint64
		for _, r := range plain {
			sum += alloc(r).hash()
			if got := table.get(r.id.String()); got == nil || got.Index != r.value {
				t.Fatalf("%s is %+v", r.id, got)
			}
			if got := slices.Collect(table.prefixed(r.id.String()[:5])); len(got) == 0 || !slices.IsSortedFunc(got, func(a, b *Alloc) int { return compareText(a.ID, b.ID) }) {
				t.Fatalf("by prefix: %v", got)
			}
		}
		if sum != table.sum || table.rows.Len() != len(plain) || idsIn(table.ids) != len(plain) {
			t.Fatalf("%d rows, %d by ID, want %d; sum %x, want %x", table.rows.Len(), idsIn(table.ids), len(plain), table.sum, sum)
		}
		for i := range old {
			var was uint64
			for a := range old[i].all() {
				was += a.hash()
			}
			if was != sums[i] || listed(&old[i]) != lists[i] {
				t.Fatal("a table that was copied has changed")
			}
		}
	})
}

func idsIn(x idRuns) (n int) {
	for _, run := range x.byLead.Scan {
		n += run.count
	}
	return n
}

// TestIDRuns compares runs with a plain map.
func TestIDRuns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plain, runs := map[idKey]uint64{}, newIDRuns()
		lead := func(name string) uint64 {
			return rapid.Uint64Range(0, 20).Draw(t, name) + rapid.SampledFrom([]uint64{0, 1<<32 - 21}).Draw(t, "end")
		}
		for serial := uint64(1); serial <= 60; serial++ {
			id := idKey{lead("lead") << 32, rapid.Uint64Range(0, 1).Draw(t, "plan")}
			count := rapid.IntRange(1, 4).Draw(t, "count")
			free := id.lead()+uint32(count-1) >= id.lead()
			for n := range count {
				_, a := plain[idKey{id.plus(n).hi, 0}]
				_, b := plain[idKey{id.plus(n).hi, 1}]
				free = free && !a && !b
			}
			if got := runs.free(id, count); got != free && uint64(id.lead())+uint64(count) < 1<<32 { // one less at the end
				t.Fatalf("%d from %s are free: %v, want %v", count, id, got, free)
			} else if got {
				for n := range count {
					plain[id.plus(n)] = serial
					runs.add(id.plus(n), serial)
					serial++
				}
			}
			gone := idKey{lead("gone") << 32, rapid.Uint64Range(0, 1).Draw(t, "its plan")}
			if got := runs.remove(gone); got != plain[gone] {
				t.Fatalf("%s was %d, want %d", gone, got, plain[gone])
			}
			delete(plain, gone)
			for id, want := range plain {
				if got := runs.serial(id); got != want {
					t.Fatalf("%s is %d, want %d", id, got, want)
				}
			}
			if idsIn(runs) != len(plain) {
				t.Fatalf("%d IDs, want %d", idsIn(runs), len(plain))
			}
		}
	})
}

func compareText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// TestAllocHashStaysOnTheStack: it is computed for every row that is put.
func TestAllocHashStaysOnTheStack(t *testing.T) {
	a := fullAlloc()
	if n := testing.AllocsPerRun(100, func() { _ = a.hash() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAllocHash(b *testing.B) {
	a := fullAlloc()
	for b.Loop() {
		_ = a.hash()
	}
}
