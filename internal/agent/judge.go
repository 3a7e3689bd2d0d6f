package agent

// judgeAnew looks again at a disk that must not be published, after its wipe:
// what a tenant has left on it may have been the reason.
func (a *Agent) judgeAnew(sl slot) {
	if sl.disk.Refused == "" {
		return
	}
	d, _, err := a.machine.Inspect(sl.class, sl.entry)
	if err != nil || d == nil {
		return // the next scan tells
	}
	a.slots.mu.Lock()
	defer a.slots.mu.Unlock()
	if now := a.slots.byKey[sl.entry.key()]; now != nil && now.entry == sl.entry && now.disk != nil && now.disk.Identity == d.Identity {
		now.disk = d
	}
}
