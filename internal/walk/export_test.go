package walk

// Remembered returns the number of states that the feed holds in memory.
func (f *Feed[T]) Remembered() int { return len(f.yielded.states) }
