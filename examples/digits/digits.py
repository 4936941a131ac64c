"""digits.py: scikit-learn's digits as files of the IDX format.

    python3 digits.py digits.csv.gz DIRECTORY

The CSV has an image a line: 64 pixels of 0 to 16, row by row, then the digit.
Every fifth run of ten images is held out: the digits mostly come as 0, 1, … 9,
so that every fifth image would be 4s and 9s. Written are, in DIRECTORY,
train-images-idx3-ubyte and train-labels-idx1-ubyte, and those of heldout: a
magic number, the sizes as big-endian 32-bit numbers, then a byte a pixel (0 to
255) or a label. Only Python's own library is used.
"""
import gzip
import struct
import sys


def write(directory, name, images):
    """Images are rows of 64 pixels and a digit."""
    with open(f"{directory}/{name}-images-idx3-ubyte", "wb") as file:
        file.write(struct.pack(">4I", 0x803, len(images), 8, 8))
        for image in images:
            file.write(bytes(round(pixel * 255 / 16) for pixel in image[:64]))
    with open(f"{directory}/{name}-labels-idx1-ubyte", "wb") as file:
        file.write(struct.pack(">2I", 0x801, len(images)))
        file.write(bytes(image[64] for image in images))


def main():
    path, directory = sys.argv[1:]
    with gzip.open(path, "rt") as file:
        images = [[int(float(x)) for x in line.split(",")] for line in file]
    if any(len(image) != 65 for image in images):
        sys.exit(f"{path}: a line is not 64 pixels and a digit")
    heldout = [image for i, image in enumerate(images) if i // 10 % 5 == 4]
    train = [image for i, image in enumerate(images) if i // 10 % 5 != 4]
    write(directory, "train", train)
    write(directory, "heldout", heldout)
    print(f"{len(train)} images to train on, {len(heldout)} held out")


main()
