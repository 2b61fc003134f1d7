// libtorch's threads and its count of tensors are the process's: tests follow one another.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
