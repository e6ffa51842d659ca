/* replay.c - runs a fuzz harness once on each file named, without libFuzzer: the corpus as a test. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static int run(const char *path) {
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc(1 << 20);
    if (file == NULL || bytes == NULL) {
        fprintf(stderr, "cannot read %s\n", path);
        return 1;
    }
    size_t length = fread(bytes, 1, 1 << 20, file);
    fclose(file);
    uint8_t *exact = realloc(bytes, length != 0 ? length : 1); /* so that the sanitizer sees reading beyond the end */
    LLVMFuzzerTestOneInput(exact, length);
    free(exact);
    return 0;
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (run(argv[i]) != 0)
            return 1;
    printf("%s: %d inputs\n", argv[0], argc - 1);
    return 0;
}
