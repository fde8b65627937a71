package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// fill puts anything into a value that JSON can hold.
func fill(t *rapid.T, v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Int, reflect.Int64:
		v.SetInt(rapid.OneOf(rapid.Just(int64(0)), rapid.Int64()).Draw(t, "int"))
	case reflect.Uint64:
		v.SetUint(rapid.Uint64().Draw(t, "uint"))
	case reflect.String:
		v.SetString(rapid.SampledFrom([]string{"", "a", "ü<>&", "\x00\"\\\n", strings.Repeat("long ", 40)}).Draw(t, "string"))
	case reflect.Interface:
		v.Set(reflect.ValueOf(rapid.SampledFrom([]any{"x", 1.5, true, []any{"a", nil}, map[string]any{"b": 2.0}}).Draw(t, "any")))
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), depth+1)
		}
	case reflect.Pointer:
		if depth <= 1 || rapid.Bool().Draw(t, "there") {
			v.Set(reflect.New(v.Type().Elem()))
			fill(t, v.Elem(), depth)
		}
	case reflect.Slice:
		if n := rapid.IntRange(-1, 2).Draw(t, "elements"); n >= 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				fill(t, v.Index(i), depth)
			}
		}
	case reflect.Map:
		if n := rapid.IntRange(-1, 2).Draw(t, "entries"); n >= 0 {
			v.Set(reflect.MakeMap(v.Type()))
			for i := range n {
				value := reflect.New(v.Type().Elem()).Elem()
				fill(t, value, depth)
				v.SetMapIndex(reflect.ValueOf(fmt.Sprint("key", i)), value)
			}
		}
	default:
		t.Fatalf("a %s is not known here", v.Type())
	}
}

func pack(t testing.TB, how packing, v reflect.Value) []byte {
	t.Helper()
	var p packWriter
	if how.pack(&p, v); p.err != nil {
		t.Fatal(p.err)
	}
	return p.out
}

// TestPackedIsJSON: whatever a registration says, packed it is what it is as JSON. A row that was read from JSON has the hash of the one
// that was packed.
func TestPackedIsJSON(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var c, packed, read RegisterJob
		fill(rt, reflect.ValueOf(&c).Elem(), 0)
		data := pack(t, registrationPacking(), reflect.ValueOf(c))
		if err := registrationPacking().read(data, reflect.ValueOf(&packed).Elem()); err != nil {
			rt.Fatal(err)
		}
		if err := strict(marshal(c), &read); err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(read, packed); diff != "" {
			rt.Fatalf("(-JSON +packed):\n%s", diff)
		}
		if c.Job.hash() != read.Job.hash() || c.Job.hash() != packed.Job.hash() {
			rt.Fatal("hashes differ")
		}
		again := pack(t, registrationPacking(), reflect.ValueOf(packed))
		if !bytes.Equal(again, data) {
			rt.Fatal("packed again it has other bytes")
		}
	})
}

// TestPackedHashKnowsEveryField: no two jobs that differ have the same hash.
func TestPackedHashKnowsEveryField(t *testing.T) {
	seen := map[uint64]string{}
	rapid.Check(t, func(rt *rapid.T) {
		var j Job
		fill(rt, reflect.ValueOf(&j).Elem(), 1)
		text := string(marshal(&j))
		if other, known := seen[j.hash()]; known && other != text {
			rt.Fatalf("one hash:\n%s\n%s", text, other)
		}
		seen[j.hash()] = text
	})
}

func TestEncodeFor(t *testing.T) {
	c := RegisterJob{RequestID: "r", Job: withPorts(testJob("a", 1), []int{80}, 1), EnforceIndex: true, JobModifyIndex: 4, Time: 4}
	for level, want := range map[int]string{1: `{"Kind":"RegisterJob"`, 2: "\x01"} {
		data, err := EncodeFor(c, level)
		if err != nil || !strings.HasPrefix(string(data), want) {
			t.Fatalf("level %d: %.40q, %v", level, data, err)
		}
		got, err := Decode(data)
		if err != nil || KindOf(data) != c.kind() {
			t.Fatalf("level %d: of kind %q, %v", level, KindOf(data), err)
		}
		if diff := cmp.Diff(Command(c), got); diff != "" {
			t.Errorf("level %d (-want +got):\n%s", level, diff)
		}
	}
	large := c
	large.Job = testJob("b", 1)
	for range 3 {
		g := large.Job.TaskGroups[0]
		g.Name, g.Meta = fmt.Sprint("g", len(large.Job.TaskGroups)), map[string]string{"a": strings.Repeat("x", maxPacked/3)}
		large.Job.TaskGroups = append(large.Job.TaskGroups, g)
	}
	if data, err := EncodeFor(large, 2); err != nil || isPacked(data) {
		t.Errorf("a large one is packed, or %v", err)
	}
	long := c
	long.Job = testJob("b", 1)
	for i := range 3 * maxUnpackedAhead {
		long.Job.Datacenters = append(long.Job.Datacenters, fmt.Sprint("dc", i))
		long.Job.Constraints = append(long.Job.Constraints, Constraint{LTarget: "${node.class}", RTarget: fmt.Sprint(i)})
	}
	var read RegisterJob
	if err := registrationPacking().read(pack(t, registrationPacking(), reflect.ValueOf(long)), reflect.ValueOf(&read).Elem()); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(long, read); diff != "" {
		t.Errorf("long lists (-want +got):\n%s", diff)
	}
	torn := c
	torn.RequestID = "\xff"
	if data, err := EncodeFor(torn, 2); err != nil || isPacked(data) {
		t.Errorf("what JSON would change is packed, or %v", err)
	}
	odd := c
	odd.Job = testJob("b", 1)
	odd.Job.TaskGroups[0].Tasks[0].Config = map[string]any{"f": func() {}}
	if _, err := EncodeFor(odd, 2); !errors.Is(err, ErrInvalid) {
		t.Errorf("what JSON cannot hold: %v", err)
	}
	if _, err := EncodeFor(RegisterJob{}, 2); !errors.Is(err, ErrInvalid) {
		t.Errorf("no job: %v", err)
	}
}

// TestPackedRefuses: every beginning of a packed command, and much of what it is not, is refused with the place.
func TestPackedRefuses(t *testing.T) {
	whole, err := EncodeFor(RegisterJob{RequestID: "r", Job: testJob("a", 1), Time: 4}, 2)
	if err != nil {
		t.Fatal(err)
	}
	broken := map[string][]byte{
		"more behind it":      append(bytes.Clone(whole), 0),
		"a field twice":       {packedMark, 1, 1, 'r', 1, 1, 'r', 0},
		"a field of tomorrow": {packedMark, 99, 0},
		"neither true nor":    {packedMark, 3, 2, 0},
		"a long text":         {packedMark, 1, 200, 'r', 0},
		"a number too large":  append([]byte{packedMark, 5}, bytes.Repeat([]byte{0xff}, 11)...),
		"too much":            append([]byte{packedMark}, make([]byte, maxPacked)...),
	}
	for n := 1; n < len(whole); n++ {
		broken[fmt.Sprintf("the first %d bytes", n)] = whole[:n]
	}
	for name, data := range broken {
		if _, err := Decode(data); !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), "byte") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecodePacked(f *testing.F) {
	data, err := EncodeFor(RegisterJob{RequestID: "r", Job: withPorts(testJob("a", 1), []int{80}, 1), Time: 4}, 2)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		cmd, err := Decode(append([]byte{packedMark}, data...))
		if err != nil {
			return
		}
		if _, err := json.Marshal(cmd); err != nil {
			t.Errorf("it was read and cannot be written: %v", err)
		}
	})
}

// TestPackedFieldsStay: numbers of fields are in every log. A new field goes to the end of its struct, and to the end of its line here;
// nothing is moved or taken away.
func TestPackedFieldsStay(t *testing.T) {
	var lines []string
	known := map[reflect.Type]bool{}
	var list func(reflect.Type)
	list = func(t reflect.Type) {
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			list(t.Elem())
		case reflect.Struct:
			if known[t] {
				return
			}
			known[t] = true
			line, at := t.Name()+":", len(lines)
			lines = append(lines, "")
			for i := range t.NumField() {
				line += " " + t.Field(i).Name
				list(t.Field(i).Type)
			}
			lines[at] = line
		}
	}
	list(reflect.TypeFor[RegisterJob]())
	if diff := cmp.Diff(packedFields, strings.Join(lines, "\n")); diff != "" {
		t.Errorf("fields were moved (-want +got):\n%s\nall:\n%s", diff, strings.Join(lines, "\n"))
	}
}

const packedFields = `RegisterJob: RequestID Job EnforceIndex JobModifyIndex Time
Job: Namespace ID Name Type Region Datacenters NodePool Priority AllAtOnce Constraints Affinities Spreads Meta TaskGroups Stop Purge Version SubmitTime CreateIndex ModifyIndex JobModifyIndex Blocked
Constraint: LTarget RTarget Operand
Affinity: LTarget RTarget Operand Weight
Spread: Attribute Weight SpreadTarget
SpreadTarget: Value Percent
TaskGroup: Name Count Constraints Affinities Spreads Meta Networks RestartPolicy ReschedulePolicy Update EphemeralDisk Tasks
Network: Mode ReservedPorts DynamicPorts
Port: Label Value To
RestartPolicy: Attempts Interval Delay Mode
ReschedulePolicy: Attempts Interval Delay DelayFunction MaxDelay Unlimited
UpdateStrategy: MaxParallel
EphemeralDisk: SizeMB
Task: Name Driver User Config Env Meta Constraints Affinities Resources RestartPolicy LogConfig Leader KillTimeout KillSignal
Resources: CPU MilliCores Cores MemoryMB MemoryMaxMB Devices
RequestedDevice: Name Count Constraints Affinities
LogConfig: MaxFiles MaxFileSizeMB Disabled
Blocked: Since Groups Reason`

func BenchmarkPack(b *testing.B) {
	c := RegisterJob{RequestID: "r-1", Job: testJob("job-1", 1)}
	for name, encode := range map[string]func() ([]byte, error){
		"JSON":   func() ([]byte, error) { return EncodeFor(c, 1) },
		"packed": func() ([]byte, error) { return EncodeFor(c, 2) },
	} {
		data, err := encode()
		if err != nil {
			b.Fatal(err)
		}
		b.Run("encode/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = encode()
			}
			b.ReportMetric(float64(len(data)), "bytes")
		})
		b.Run("decode/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = Decode(data)
			}
		})
	}
}
